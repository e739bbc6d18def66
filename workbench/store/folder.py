"""The parts that lie in a folder, as they are at one instant.

Readers take no lock. They list the parts, open them, and list again: when both lists are the same, what they hold open
is the folder as it was at one instant, and stays readable whatever is written meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from workbench.errors import StoreError
from workbench.market.coverage import Interval
from workbench.store.commit import pending
from workbench.store.footer import PartInfo
from workbench.store.layout import overlapping, parse_part_name, part_name
from workbench.store.parts import ALWAYS, Part, PartChanged, find_part, opened

_ATTEMPTS = 500
_PAUSE_S = 0.001

_Info = TypeVar("_Info", PartInfo, PartInfo | None)


@dataclass(frozen=True, slots=True)
class PartFolder:
    """A folder of parts, disjoint in time."""

    folder: Path

    @property
    def home(self) -> Path:
        """The folder of the symbol, in which all its series lie."""
        return self.folder.parent

    def parts(self, begin: datetime = ALWAYS[0], end: datetime = ALWAYS[1]) -> list[Part]:
        """Return the parts that may hold bars of `[begin, end)`, in the order of time.

        Raises `StoreError` when two of them share time: somebody copied files.
        """
        folder = str(self.folder)
        change = pending(os.path.dirname(folder))  # noqa: PTH120  no paths: a panel lists thousands of folders
        names, elsewhere = self._names(), {}
        if change is not None:
            elsewhere = {final.name: self.home / to for final, to in change.moves.items() if self._is_mine(final)}
            names = tuple(dict.fromkeys((*names, *elsewhere)))
            names = tuple(name for name in names if Path(self.folder.name, name) not in change.gone)
        periods, shared = _layout(names)
        if shared:
            raise StoreError(
                f"{self.folder} holds {part_name(shared[0])} and {part_name(shared[1])}, which share time; "
                "move the one away that does not belong there"
            )
        near = [(period, name) for period, name in periods if period.begin < end and begin < period.end]
        return [part for period, name in near if (part := _find(period, _place(folder, name), elsewhere.get(name)))]

    def signs(self) -> list[tuple[str, int, int, int]]:
        """Return what changes whenever some part does: the name, inode, time and size of each; nothing is opened.

        Raises `StoreError`.
        """
        folder = str(self.folder)
        if pending(os.path.dirname(folder)) is None:  # noqa: PTH120  no paths: a panel looks at thousands of folders
            try:
                return [_sign(name, os.stat(f"{folder}{os.sep}{name}")) for name in sorted(self._names())]  # noqa: PTH116
            except OSError:
                pass  # what became of that part, the way for all cases tells
        return [(part.path.name, part.inode, part.modified_ns, part.bytes) for part in self.parts()]

    def periods(self) -> list[Interval]:
        """Return the periods of the parts, as their names tell. For writers: no change may be pending."""
        return [period for period, _ in _layout(self._names())[0]]

    def has_parts(self) -> bool:
        """Tell whether anything is stored, readable or not."""
        return bool(self._names() or (pending(self.home) and self.parts()))

    def _names(self) -> tuple[str, ...]:
        try:
            return tuple(name for name in os.listdir(self.folder) if parse_part_name(name))  # noqa: PTH208  no paths
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read as a folder of parts: {error.strerror}") from error

    def _is_mine(self, path: Path) -> bool:
        return path.parent == Path(self.folder.name)

    @contextmanager
    def held(self, begin: datetime, end: datetime) -> Iterator[list[tuple[Part, pa.NativeFile]]]:
        """Hold the parts of `[begin, end)` open as they are at one instant."""
        for _ in range(_ATTEMPTS):
            with ExitStack() as stack:
                parts = self.parts(begin, end)
                try:
                    held = [(part, stack.enter_context(opened(part))) for part in parts]
                except PartChanged:
                    held = []
                if len(held) == len(parts) and self.stands(parts, begin, end):
                    yield held
                    return
            time.sleep(_PAUSE_S)
        raise StoreError(f"{self.folder} changes all the time; try again later")

    def told(
        self, read: Callable[[Part], _Info], begin: datetime = ALWAYS[0], end: datetime = ALWAYS[1]
    ) -> list[tuple[Part, _Info]]:
        """Return the parts of `[begin, end)` and what their footers tell, as the series was at one instant."""
        for _ in range(_ATTEMPTS):
            parts = self.parts(begin, end)
            try:
                told = [(part, read(part)) for part in parts]
            except PartChanged:
                continue
            if self.stands(parts, begin, end):
                return told
        raise StoreError(f"{self.folder} changes all the time; try again later")

    def stands(self, parts: Sequence[Part], begin: datetime, end: datetime) -> bool:
        """Tell whether the parts of `[begin, end)` are still the same."""
        return [part.identity for part in parts] == [part.identity for part in self.parts(begin, end)]


def _sign(name: str, stat: os.stat_result) -> tuple[str, int, int, int]:
    return name, stat.st_ino, stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=8192)
def _layout(names: tuple[str, ...]) -> tuple[tuple[tuple[Interval, str], ...], tuple[Interval, Interval] | None]:
    """Return the periods of these parts in the order of time, with their names, and two that share time."""
    periods = sorted((period, name) for name in names if (period := parse_part_name(name)))
    return tuple(periods), overlapping([period for period, _ in periods])


@lru_cache(maxsize=65_536)
def _place(folder: str, name: str) -> Path:
    """Return the path of a part: made once, for a path takes longer to make than its file to be found."""
    return Path(folder, name)


def _find(period: Interval, path: Path, elsewhere: Path | None) -> Part | None:
    """Return the part of that place; None when it vanished since it was listed, which the next list shows."""
    for at in (elsewhere, path):  # a temporary that is gone was renamed
        try:
            if at is not None:
                return find_part(path, period, at)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{path} cannot be opened ({error.strerror}); check who may read it") from error
    if path.is_symlink():
        raise StoreError(f"{path} is a link that leads nowhere; mend it, its bars are not gone but missing")
    return None
