"""Several files of one folder's series changed as one step: all of it is seen, or nothing, whenever the writer dies.

What shall stand where is written into temporary files first, then into one small file, the *journal*: its appearance
is the instant of the change. Then the temporaries are renamed to where they belong and the journal goes. A reader who
meets a journal reads the temporaries that are not renamed yet; the next writer finishes what a dead one left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from workbench.errors import StoreError
from workbench.store.files import locked, replacing, sync_folder

_JOURNAL, _LOCK = ".commit", ".commit.lock"
_WHOLE = "What is stored is whole. Check the disk and the folder, then save again"


@dataclass(frozen=True, slots=True)
class Commit:
    """A change that is decided. Paths are relative to the folder that it is made in."""

    moves: Mapping[Path, Path]
    """From each file to the temporary file that takes its place."""
    gone: tuple[Path, ...]
    """Files that are no more."""


def pending(home: Path | str) -> Commit | None:
    """Return the change that is decided and not finished, if there is one. Raises `StoreError`."""
    path = f"{home}{os.sep}{_JOURNAL}"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  every listing comes here
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}, the journal of an unfinished write, cannot be read: {error}") from error
    try:
        journal = json.loads(text)
        moves = {Path(final): Path(temporary) for final, temporary in journal["moves"].items()}
        return Commit(moves, tuple(map(Path, journal["gone"])))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise StoreError(f"{path}, the journal of an unfinished write, is malformed: {error}") from error


def settle(home: Path) -> None:
    """Finish what a writer that died had decided. Raises `StoreError`."""
    if os.path.lexists(f"{home}{os.sep}{_JOURNAL}"):
        with locked(home / _LOCK, str(home)):
            _finish(home)


def replace_all(home: Path, moves: Mapping[Path, Path], gone: Sequence[Path] = ()) -> None:
    """Let each temporary file below `home`, written and synced, take the place of its file; let some files go.

    The caller holds the locks of all series that are concerned. When this fails before the change was decided, the
    temporaries are gone and the files are as they were. Raises `StoreError`.
    """
    names = ", ".join(map(str, moves))
    try:
        if len(moves) == 1 and not gone:
            _replace_one(*next(iter(moves.items())))
            return
        with locked(home / _LOCK, str(home)):
            _finish(home)
            _decide(home, moves, gone)
            _finish(home)
    except OSError as error:
        raise StoreError(f"{names} could not be written ({error}). {_WHOLE}") from error


def _replace_one(final: Path, temporary: Path) -> None:
    """Rename one file: a change that needs no journal."""
    try:
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)


def _decide(home: Path, moves: Mapping[Path, Path], gone: Sequence[Path]) -> None:
    """Write the journal. The caller holds the lock, so one that is there when this fails is ours, and stands."""
    for left_over in home.glob(f"{_JOURNAL}-*.tmp"):
        left_over.unlink(missing_ok=True)
    journal = {
        "moves": {_relative(final, home): _relative(temporary, home) for final, temporary in moves.items()},
        "gone": [_relative(path, home) for path in gone],
    }
    try:
        sync_folder(home)  # the temporaries' names must not be younger than the journal that tells them
        with replacing(home / _JOURNAL, home / f"{_JOURNAL}-{uuid4().hex}.tmp") as file:
            file.write(json.dumps(journal).encode())
    finally:
        if not (home / _JOURNAL).exists():
            for temporary in moves.values():
                temporary.unlink(missing_ok=True)


def _relative(path: Path, home: Path) -> str:
    return path.relative_to(home).as_posix()


def _finish(home: Path) -> None:
    """Rename what is not renamed yet, and let the journal go once that is durable. The caller holds the lock."""
    change = pending(home)
    if change is None:
        return
    for final, temporary in change.moves.items():
        if (home / temporary).exists():
            (home / temporary).replace(home / final)
    for path in change.gone:
        (home / path).unlink(missing_ok=True)
    for folder in {(home / path).parent for path in (*change.moves, *change.gone)}:
        sync_folder(folder)
    (home / _JOURNAL).unlink()
    sync_folder(home)
