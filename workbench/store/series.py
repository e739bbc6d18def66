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
from filelock import FileLock, Timeout

from workbench.errors import InvalidBars, SourceMismatch, StoreError
from workbench.market.bars import SCHEMA, TIMESTAMP
from workbench.market.coverage import Coverage, Interval
from workbench.market.timeframes import Timeframe, parse_timeframe
from workbench.store.merge import SaveReport, merge
from workbench.store.parts import (
    PartInfo,
    Provenance,
    part_name,
    period_of,
    period_unit,
    read_info,
    read_part,
    stamps_of,
    to_micros,
    write_part,
)

_LOCK_TIMEOUT_S = 60.0
_PART = re.compile(r"(\d{4})(?:-(\d{2}))?\.parquet")


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
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _PART.fullmatch(path.name))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers of this series out, those of other processes too."""
        path = self.folder.parent / f".{self.folder.stem}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path, timeout=_LOCK_TIMEOUT_S):
                yield
        except Timeout as error:
            raise StoreError(
                f"another process has been writing {self.folder} for {_LOCK_TIMEOUT_S:.0f} s; try again later"
            ) from error
        except PermissionError as error:
            raise StoreError(f"{path.parent} cannot be written: {error.strerror}; check who owns it") from error

    def load(self, begin: datetime, end: datetime, columns: list[str]) -> pa.Table:
        """Return the bars whose timestamp lies in `[begin, end)`, with their timestamps as first column."""
        names = [TIMESTAMP, *columns]
        paths = [path for path in self.parts() if (span := self._period(path)).begin < end and begin < span.end]
        tables = [read_part(path, names) for path in paths]
        table = pa.concat_tables(tables or [SCHEMA.empty_table().select(names)])
        return _between(table, begin, end)

    def save(self, table: pa.Table, provenance: Provenance, covers: Interval | None) -> SaveReport:
        """Lay `table` over what is stored, part by part, oldest first. The caller holds the lock."""
        if covers is not None and _between(table, covers.begin, covers.end).num_rows != table.num_rows:
            raise InvalidBars(f"some of the bars lie outside {covers}, which they are said to cover")
        report = SaveReport()
        for period in self._periods(table, covers):
            report += self._save_part(period, table, provenance, covers)
        return report

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

    def _period(self, part: Path) -> Interval:
        found = _PART.fullmatch(part.name)
        assert found is not None  # noqa: S101  parts() lists nothing else
        return period_of(self.timeframe, datetime(int(found[1]), int(found[2] or 1), 1, tzinfo=UTC))

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

    def _save_part(
        self, period: Interval, table: pa.Table, provenance: Provenance, covers: Interval | None
    ) -> SaveReport:
        path = self.folder / part_name(self.timeframe, period)
        new, covered = _between(table, period.begin, period.end), Coverage([covers] if covers else [])
        covered = covered.clip(period.begin, period.end)
        old, before = SCHEMA.empty_table(), Coverage()
        if path.exists():
            info = read_info(path)
            _refuse_mixing(path, info.provenance, provenance)
            old, before = read_part(path), info.coverage
        merged, report = merge(old, new, next(iter(covered), None))
        after = before | covered
        if report.changed or after != before:
            write_part(path, merged, PartInfo(provenance, after, datetime.now(UTC)))
        return report


def _between(table: pa.Table, begin: datetime, end: datetime) -> pa.Table:
    """Return the rows of a sorted table whose timestamp lies in `[begin, end)`."""
    first, last = np.searchsorted(stamps_of(table), [to_micros(begin), to_micros(end)])
    return table.slice(int(first), int(last - first))


def _refuse_mixing(path: Path, stored: Provenance, offered: Provenance) -> None:
    if stored != offered:
        raise SourceMismatch(f"{path} holds {stored}; bars of {offered} do not belong there")
