"""Copies of a store in another folder, and back: whole, verified, and only what has changed.

A backup is itself a store that can be opened. Its manifest lists every file with its size and SHA-256; it is written
last, so a backup that was ended before is known as not whole. Parts are never changed, only replaced: a file that the
manifest knows with the same size and time is not copied again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from workbench.errors import StoreError
from workbench.store.commit import settle
from workbench.store.files import replacing
from workbench.store.historical import HistoricalDataManager
from workbench.store.series import Series

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class CopyReport:
    """How many files a backup has or had restored, and how many of them were copied now."""

    files: int
    copied: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.files:,} files, {self.bytes / 1e6:,.1f} MB, verified; {self.copied:,} of them copied now"


def backup(
    store: HistoricalDataManager, target: Path, on_file: Callable[[int, int], None] = lambda *_: None
) -> CopyReport:
    """Copy a store into a folder; what is there from an earlier backup is not copied again. Raises `StoreError`.

    Each symbol is copied as it is at one instant: its writers wait.
    """
    if target.resolve().is_relative_to(store.data_dir.resolve()):
        raise StoreError(f"{target} lies within the store; choose a folder outside of {store.data_dir}")
    known = _read_manifest(target) if (target / MANIFEST).exists() else {}
    listed: dict[str, dict[str, object]] = {}
    copied = 0
    homes = sorted({path for path in store.data_dir.glob("*/*") if path.is_dir() and not path.name.startswith(".")})
    try:
        for number, home in enumerate(homes, 1):
            with ExitStack() as stack:
                for folder in sorted(home.glob("*.parquet")):
                    stack.enter_context(Series.at(folder).lock())
                settle(home)
                for path in [*sorted(home.glob("*.parquet/*.parquet")), *home.glob("splits.json")]:
                    copied += _copy_if_changed(store.data_dir, target, path, known, listed)
            on_file(number, len(homes))
        for path in (store.data_dir / ".source", store.data_dir / "review.parquet"):
            if path.exists():
                copied += _copy_if_changed(store.data_dir, target, path, known, listed)
        with replacing(target / MANIFEST, target / f"{uuid4().hex}.tmp") as file:
            file.write(json.dumps(listed, indent=1).encode())
        for name in known.keys() - listed.keys():
            (target / name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"the backup into {target} failed ({error}); the store is as it was. Run it again") from error
    return CopyReport(len(listed), copied, sum(int(str(one["bytes"])) for one in listed.values()))


def verify(folder: Path) -> dict[str, dict[str, object]]:
    """Return the manifest of a backup after comparing every file with it. Raises `StoreError`, which names the file."""
    listed = _read_manifest(folder)
    for name, told in listed.items():
        path = folder / name
        if not path.is_file() or _digest(path) != told["sha256"]:
            raise StoreError(f"{path} is not what the backup's manifest says; nothing was restored. Use another backup")
    return listed


def restore(folder: Path, data_dir: Path) -> CopyReport:
    """Make a store of a backup, where none is. All of it takes its place at once. Raises `StoreError`."""
    listed = verify(folder)
    if data_dir.exists() and any(path.name != ".source.lock" for path in data_dir.iterdir()):
        raise StoreError(f"{data_dir} is not empty; move it away, or choose another data folder, then restore again")
    staged = data_dir.with_name(f".{data_dir.name}-{uuid4().hex}.tmp")
    try:
        for name, told in listed.items():
            _copy(folder / name, staged / name, str(told["sha256"]))
        if data_dir.exists():
            shutil.rmtree(data_dir)
        staged.rename(data_dir)
    except OSError as error:
        raise StoreError(f"{data_dir} could not be restored ({error}); the backup is as it was") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return CopyReport(len(listed), len(listed), sum(int(str(one["bytes"])) for one in listed.values()))


def _copy_if_changed(
    base: Path, target: Path, path: Path, known: dict[str, dict[str, object]], listed: dict[str, dict[str, object]]
) -> int:
    name, stat = path.relative_to(base).as_posix(), path.stat()
    told = known.get(name)
    same = told is not None and (told["bytes"], told["modified_ns"]) == (stat.st_size, stat.st_mtime_ns)
    is_there = (target / name).is_file() and (target / name).stat().st_size == stat.st_size
    digest = str(told["sha256"]) if told is not None and same and is_there else _copy(path, target / name, "")
    listed[name] = {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "sha256": digest}
    return int(not (same and is_there))


def _copy(path: Path, to: Path, expected: str) -> str:
    """Copy a file, durably, and return its digest as read back from the copy. Raises `StoreError`."""
    before = expected or _digest(path)
    with path.open("rb") as source, replacing(to, to.with_name(f".{to.name}-{uuid4().hex}.tmp")) as file:
        shutil.copyfileobj(source, file, _CHUNK)
    if _digest(to) != before:
        raise StoreError(f"the copy of {path} differs from it; check the disk of {to.parent}")
    return before


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(folder: Path) -> dict[str, dict[str, object]]:
    path = folder / MANIFEST
    try:
        listed = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read ({error}): {folder} is no backup, or one that was not finished"
        ) from error
    if not all(isinstance(one, dict) and ".." not in Path(name).parts for name, one in listed.items()):
        raise StoreError(f"{path} is not the manifest of a backup")
    return dict(listed)
