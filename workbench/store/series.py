"""One series: a folder of parts, disjoint in time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from workbench.errors import InvalidBars, SourceMismatch, StoreError
from workbench.market.bars import SCHEMA, TIMESTAMP
from workbench.market.coverage import Coverage, Interval
from workbench.market.timeframes import Timeframe, parse_timeframe
from workbench.store.files import locked
from workbench.store.merge import SaveReport, merge
from workbench.store.parts import (
    PartInfo,
    Provenance,
    part_name,
    period_at,
    period_of,
    period_unit,
    read_info,
    read_part,
    stamps_of,
    sweep,
    to_micros,
    write_part,
)

_PART = re.compile(r"([12]\d{3})(?:-(0[1-9]|1[0-2]))?\.parquet")


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What a stored series holds, told by its parts' footers. `first` and `last` are bar starts in UTC."""

    symbol: str
    timeframe: str
    what_to_show: str
    source: str
    bars: int
    first: datetime | None
    last: datetime | None
    coverage: Coverage
    bytes: int
    problem: str = ""
    """Why its parts cannot be read, or nothing."""


@dataclass(frozen=True, slots=True)
class Series:
    """The parts below one folder, and the lock that their writers share."""

    folder: Path
    timeframe: Timeframe
    what_to_show: str

    @classmethod
    def at(cls, folder: Path) -> Series:
        """Return the series that a folder such as `…/AAPL/15min-MIDPOINT.parquet` holds, or would hold."""
        name, _, what_to_show = folder.stem.partition("-")
        return cls(folder, parse_timeframe(name), what_to_show or "TRADES")

    def parts(self) -> list[Path]:
        """Return the parts in the order of time."""
        try:
            found = [path for path in self.folder.iterdir() if _PART.fullmatch(path.name)]
            return sorted(found, key=lambda path: path.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read as a folder of parts: {error.strerror}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers of this series out, those of other processes too."""
        with locked(self.folder.parent / f".{self.folder.stem}.lock", str(self.folder)):
            yield

    def load(self, begin: datetime, end: datetime, columns: list[str]) -> pa.Table:
        """Return the bars whose timestamp lies in `[begin, end)`, with their timestamps as first column."""
        names = [TIMESTAMP, *columns]
        periods = {path: _period(path) for path in self.parts()}
        paths = [path for path, period in periods.items() if period.begin < end and begin < period.end]
        tables = [read_part(path, names) for path in paths]
        table = pa.concat_tables(tables or [SCHEMA.empty_table().select(names)])
        return _between(table, begin, end)

    def save(self, table: pa.Table, provenance: Provenance, covers: Interval | None) -> SaveReport:
        """Lay `table` over what is stored. The caller holds the lock.

        Whatever can be refused is refused before anything is written. A save of several parts that fails between
        two of them leaves the older ones new and the younger ones old, each with its own coverage; the same save
        once more completes it.
        """
        refuse_outside(table, covers)
        self.refuse_others(provenance)
        sweep(self.folder)
        saves = [self._merge_part(period, table, covers) for period in self._periods(table, covers)]
        for save in saves:
            if save.changes:
                write_part(save.path, save.merged, PartInfo(provenance, save.coverage, datetime.now(UTC)))
        return sum((save.report for save in saves), SaveReport())

    def refuse_others(self, provenance: Provenance) -> None:
        """Raise `SourceMismatch` when what is stored has another source, or is of other hours."""
        for path in self.parts():
            stored = read_info(path).provenance
            if stored != provenance:
                raise SourceMismatch(
                    f"{path} holds {stored}; {provenance} must not mix with them. Keep them in a data folder of "
                    "their own (data_dir in workbench.toml, or WORKBENCH_DATA_DIR)"
                )

    def coverage(self) -> Coverage:
        """Return the intervals that were asked for and are stored."""
        return Coverage(span for path in self.parts() for span in read_info(path).coverage)

    def info(self) -> SeriesInfo:
        """Return what the parts' footers tell of the series."""
        paths = self.parts()
        infos = [read_info(path) for path in paths]
        filled = [info for info in infos if info.rows]
        return SeriesInfo(
            symbol=self.folder.parent.name.rstrip("_"),
            timeframe=str(self.timeframe),
            what_to_show=self.what_to_show,
            source=infos[0].provenance.source if infos else "",
            bars=sum(info.rows for info in infos),
            first=filled[0].first if filled else None,
            last=filled[-1].last if filled else None,
            coverage=Coverage(span for info in infos for span in info.coverage),
            bytes=sum(path.stat().st_size for path in paths),
        )

    def readable_info(self) -> SeriesInfo:
        """Return what the footers tell; of a series with a part that cannot be read, that."""
        try:
            return self.info()
        except StoreError as error:
            symbol, timeframe = self.folder.parent.name.rstrip("_"), str(self.timeframe)
            return SeriesInfo(symbol, timeframe, self.what_to_show, "", 0, None, None, Coverage(), 0, str(error))

    def _periods(self, table: pa.Table, covers: Interval | None) -> list[Interval]:
        """Return the periods of the parts that a save touches."""
        unit = f"datetime64[{period_unit(self.timeframe)}]"
        touched = stamps_of(table).view("datetime64[us]").astype(unit)
        if covers is not None:
            first, last = (np.datetime64(moment.replace(tzinfo=None)) for moment in (covers.begin, covers.end))
            begun = np.arange(first.astype(unit), last.astype(unit) + 1)
            touched = np.concatenate([touched, begun[begun < last]])
        moments = [start.astype("datetime64[us]").item().replace(tzinfo=UTC) for start in np.unique(touched)]
        return [period_of(self.timeframe, moment) for moment in moments]

    def _merge_part(self, period: Interval, table: pa.Table, covers: Interval | None) -> _PartSave:
        path = self.folder / part_name(self.timeframe, period)
        covered = Coverage([covers] if covers else []).clip(period.begin, period.end)
        old, before = SCHEMA.empty_table(), Coverage()
        if path.exists():
            old, before = read_part(path), read_info(path).coverage
        merged, report = merge(old, _between(table, period.begin, period.end), next(iter(covered), None))
        after = before | covered
        return _PartSave(path, merged, after, report, changes=report.changed or after != before)


@dataclass(frozen=True, slots=True)
class _PartSave:
    """What a save does to one part."""

    path: Path
    merged: pa.Table
    coverage: Coverage
    report: SaveReport
    changes: bool


def refuse_outside(table: pa.Table, covers: Interval | None) -> None:
    """Raise `InvalidBars` when some of the bars lie outside the interval that they are said to cover."""
    if covers is not None and _between(table, covers.begin, covers.end).num_rows != table.num_rows:
        raise InvalidBars(f"some of the bars lie outside {covers}, which they are said to cover")


def _period(part: Path) -> Interval:
    """Return the period of a part, a year or a month, as its name tells it."""
    found = _PART.fullmatch(part.name)
    assert found is not None  # noqa: S101  parts() lists nothing else
    begin = datetime(int(found[1]), int(found[2] or 1), 1, tzinfo=UTC)
    return period_at(begin, "M" if found[2] else "Y")


def _between(table: pa.Table, begin: datetime, end: datetime) -> pa.Table:
    """Return the rows of a sorted table whose timestamp lies in `[begin, end)`."""
    first, last = np.searchsorted(stamps_of(table), [to_micros(begin), to_micros(end)])
    return table.slice(int(first), int(last - first))
