"""The newest bars of many symbols as one block of memory-mapped numbers: what a screen reads again and again.

The panel is a cache: everything in it can be read from the parts, and is, whenever there is doubt. Each row knows the
parts that it was read from, by name, inode, time and size, and is compared with what lies in the folder now each time
a panel is opened; rows that differ are read anew. A file of the panel is never changed, only replaced, so who holds
one goes on seeing what it was opened with.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa

from workbench.errors import InvalidInput, StoreError
from workbench.market.bars import COLUMNS
from workbench.store.files import locked, replacing, written
from workbench.store.parts import ALWAYS, stamps_of
from workbench.store.series import Series

_SCHEMA = 1
_PLANES = 1 + len(COLUMNS)
_READERS = 4
_ATTEMPTS = 100
_YOUNG_NS = 50_000_000
"""A part this young may be replaced within the same tick of the file system's clock, unseen: it is left to settle."""
_NO_TIME = np.iinfo(np.int64).min
_SESSION_S, _WEEK = 23_400, 7 / 5

Sign = list[tuple[str, int, int, int]]
"""The parts of a series, each by name, inode, time and size."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The newest bars of some symbols, a row a symbol in the order asked for, its newest bar in the last column.

    Arrays are read-only. A row with fewer bars begins with empty columns: NaN, and NaT as the time.
    """

    symbols: tuple[str, ...]
    bars: int
    _block: np.ndarray
    _rows: list[int]

    @property
    def timestamps(self) -> np.ndarray:
        """The bars' starts in UTC: datetime64[us], symbols by bars."""
        return self._plane(0).view("datetime64[us]")

    def __getitem__(self, column: str) -> np.ndarray:
        """Return a column of the bars: float64, symbols by bars."""
        if column not in COLUMNS:
            raise InvalidInput(f"bars have no column {column}; they have {', '.join(COLUMNS)}")
        return self._plane(1 + COLUMNS.index(column)).view(np.float64)

    def _plane(self, number: int) -> np.ndarray:
        plane = self._block[number]
        if self._rows != list(range(len(plane))):
            plane = plane[self._rows]
        found = np.asarray(plane[:, plane.shape[1] - self.bars :])
        found.flags.writeable = False
        return found


@dataclass(frozen=True, slots=True)
class _Index:
    """What a file of the panel holds: which row is whose, and of which parts."""

    file: str
    bars: int
    rows: Mapping[str, int]
    signs: Mapping[str, Sign]


class PanelCache:
    """The panels of one timeframe and price, in a folder."""

    def __init__(self, folder: Path, store: Path) -> None:
        self._folder, self._store = folder, str(store.resolve())

    def open(self, series: Mapping[str, Series], bars: int) -> Panel:
        """Return the newest bars of the series, by symbol. Raises `InvalidInput`, `StoreError`, `CorruptPart`."""
        if not series or bars < 1:
            raise InvalidInput("a panel has at least one symbol and one bar")
        for _ in range(_ATTEMPTS):
            signs = {symbol: one.signs() for symbol, one in series.items()}
            index = self._index()
            block = self._block(index) if index else None
            if index is None or block is None or index.bars < bars or self._stale(index, signs):
                self._renew(series, bars)
                continue
            return Panel(tuple(series), bars, block, [index.rows[symbol] for symbol in series])
        raise StoreError(f"{self._folder}: bars are saved faster than the panel can be read; use load_many")

    def _stale(self, index: _Index, signs: Mapping[str, Sign]) -> list[str]:
        return [symbol for symbol, sign in signs.items() if index.signs.get(symbol) != sign]

    def _renew(self, series: Mapping[str, Series], bars: int) -> None:
        """Read anew the rows that have changed, and replace the files."""
        with locked(self._folder / ".lock", str(self._folder)):
            index = self._index()
            block = self._block(index) if index else None
            if index is None or block is None or index.bars < bars:
                index, block = _Index("", bars, {}, {}), np.empty((_PLANES, 0, bars), np.int64)
            stale = self._stale(index, {symbol: one.signs() for symbol, one in series.items()})
            if not stale:  # another process was faster
                return
            with ThreadPoolExecutor(_READERS) as pool:
                read = list(pool.map(lambda symbol: _read(series[symbol], index.bars), stale))
            rows = dict(index.rows)
            for symbol in stale:
                rows.setdefault(symbol, len(rows))
            grown = np.empty((_PLANES, len(rows), index.bars), np.int64)
            grown[:, : block.shape[1]] = block
            signs = dict(index.signs)
            for symbol, (sign, planes) in zip(stale, read, strict=True):
                grown[:, rows[symbol]], signs[symbol] = planes, sign
            self._replace(_Index(f"{uuid4().hex}.panel", index.bars, rows, signs), grown)

    def _replace(self, index: _Index, block: np.ndarray) -> None:
        told = {"schema": _SCHEMA, "store": self._store, "columns": COLUMNS}
        told |= {"file": index.file, "bars": index.bars, "rows": index.rows, "signs": index.signs}
        try:
            with written(self._folder / index.file) as file:
                file.write(block.data)
        except OSError as error:
            raise StoreError(f"{self._folder} could not be written ({error}); check the disk") from error
        with replacing(self._folder / "index.json", self._folder / f"{uuid4().hex}.tmp") as file:
            file.write(json.dumps(told).encode())
        for old in self._folder.iterdir():  # who has it open keeps it
            if old.suffix in (".panel", ".tmp") and old.name != index.file:
                with suppress(OSError):  # Windows refuses while somebody has it open; the next one clears it
                    old.unlink()

    def _index(self) -> _Index | None:
        """Return what the panel holds; None when there is none that can be trusted."""
        path = self._folder / "index.json"
        try:
            stat = path.stat()
        except OSError:
            return None  # it is made anew from the parts
        return _read_index(path, self._store, stat.st_ino, stat.st_mtime_ns, stat.st_size)

    def _block(self, index: _Index) -> np.ndarray | None:
        """Map the numbers as integers: plane by plane, symbol by symbol; None when they are not whole."""
        shape = (_PLANES, len(index.rows), index.bars)
        try:
            mapped = np.memmap(self._folder / index.file, np.int64, "r")
        except (OSError, ValueError):
            return None
        if mapped.size != np.prod(shape) or set(index.rows.values()) != set(range(len(index.rows))):
            return None
        return mapped.reshape(shape)


@lru_cache(maxsize=8)
def _read_index(path: Path, store: str, *_identity: int) -> _Index | None:
    """Return what the file of an index says. It is read once; should another take its place unseen, no harm is done.

    For an index is only believed where the parts that it names are the parts there are.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
        if (told["schema"], told["store"], told["columns"]) != (_SCHEMA, store, list(COLUMNS)):
            return None
        signs = {symbol: [tuple(part) for part in sign] for symbol, sign in told["signs"].items()}
        return _Index(told["file"], told["bars"], told["rows"], signs)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _read(series: Series, bars: int) -> tuple[Sign, np.ndarray]:
    """Return the newest bars of a series as planes of a row, and the parts that they were read from."""
    for _ in range(_ATTEMPTS):
        sign = series.signs()
        age_ns = time.time_ns() - max((modified for _, _, modified, _ in sign), default=0)
        if age_ns < _YOUNG_NS:
            time.sleep((_YOUNG_NS - max(age_ns, 0)) / 1e9)
        planes = _planes(_newest(series, bars), bars)
        if series.signs() == sign:
            return sign, planes
    raise StoreError(f"{series.folder} changes all the time; try again later")


def _newest(series: Series, bars: int) -> pa.Table:
    """Return the newest bars; at first it is guessed how far they reach back."""
    last = series.info().last
    if last is None:
        return series.load(*ALWAYS, COLUMNS)
    table = series.load(_guess(last, bars, series.timeframe.seconds), ALWAYS[1], COLUMNS)
    if table.num_rows < bars:
        table = series.load(*ALWAYS, COLUMNS)
    return table.slice(max(0, table.num_rows - bars))


def _guess(last: datetime, bars: int, seconds: int) -> datetime:
    sessions = bars / max(1, _SESSION_S // seconds)
    return last - timedelta(days=7 + 1.1 * _WEEK * sessions)


def _planes(table: pa.Table, bars: int) -> np.ndarray:
    planes = np.full((_PLANES, bars), np.nan).view(np.int64)
    planes[0] = _NO_TIME
    first = bars - table.num_rows
    planes[0, first:] = stamps_of(table)
    for number, name in enumerate(COLUMNS, 1):
        values = table.column(name).to_numpy(zero_copy_only=False)
        planes[number, first:] = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return planes
