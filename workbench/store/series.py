"""One series: its bars as they are read and written.

Writers hold the series' lock, write all that they will change beside the folder, and let it take its place as one step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from workbench.errors import CorruptPart, InvalidBars, SourceMismatch, StoreError
from workbench.market.bars import SCHEMA, TIMESTAMP
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES, Timeframe, parse_timeframe
from workbench.store.commit import replace_all, settle
from workbench.store.files import locked
from workbench.store.folder import PartFolder
from workbench.store.footer import PartInfo, Provenance
from workbench.store.layout import foldable, part_name, periods_of
from workbench.store.merge import SaveReport, merge
from workbench.store.parts import (
    ALWAYS,
    Part,
    between,
    keep_aside,
    lost_in,
    read_bars,
    read_info,
    read_whole,
    recall,
    refuse_lost,
    stamps_of,
    sweep,
    to_micros,
    verify,
    write_part,
)
from workbench.store.seriesinfo import SeriesInfo, told_by

_NEWEST = 4
"""Who reads no more parts reads the newest bars, as a rule, and will soon do so again."""


@dataclass(frozen=True, slots=True)
class Series(PartFolder):
    """The bars of one symbol, timeframe and price, and the lock that their writers share."""

    timeframe: Timeframe
    what_to_show: str

    @classmethod
    def at(cls, folder: Path) -> Series:
        """Return the series that a folder such as `…/AAPL/15min-MIDPOINT.parquet` holds, or would hold."""
        name, _, what_to_show = folder.stem.partition("-")
        return cls(folder, parse_timeframe(name), what_to_show or "TRADES")

    @property
    def symbol(self) -> str:
        """The symbol, as its folder tells it."""
        return self.home.name.rstrip("_")

    @property
    def key(self) -> tuple[str, str, str]:
        """Symbol, timeframe and what_to_show."""
        return self.symbol, str(self.timeframe), self.what_to_show

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers of this series out, those of other processes too."""
        with locked(self.home / f".{self.folder.stem}.lock", str(self.folder)):
            yield

    # Reading

    def load(self, begin: datetime, end: datetime, columns: Sequence[str]) -> pa.Table:
        """Return the bars that start in `[begin, end)`, as the series was at one instant; timestamps come first.

        Raises `CorruptPart`.
        """
        with self.held(begin, end) as held:
            again = len(held) <= _NEWEST
            tables = [read_bars(part, file, columns, begin, end, again=again) for part, file in held]
        return pa.concat_tables(tables or [SCHEMA.empty_table().select([TIMESTAMP, *columns])])

    def coverage(self) -> Coverage:
        """Return the intervals that were asked for and are stored."""
        return Coverage(span for _, info in self.told(read_info) for span in info.coverage)

    def refuse_others(self, provenance: Provenance) -> None:
        """Raise `SourceMismatch` when what is stored has another source, or is of other hours.

        What cannot be read has no say.
        """
        _refuse_others(self.told(_readable), provenance)

    def has_unreadable(self) -> bool:
        """Tell whether some part has a footer that cannot be read."""
        return any(info is None for _, info in self.told(_readable))

    def whole_parts(self) -> list[Part]:
        """Return the parts after reading all of them. Raises `CorruptPart` when one is damaged or bars are lost."""

        def verified(part: Part) -> PartInfo:
            verify(part)
            return read_info(part)

        told = self.told(verified)
        for part, info in told:
            refuse_lost(part, info, *ALWAYS)
        return [part for part, _ in told]

    def info(self) -> SeriesInfo:
        """Return what the parts' footers tell of the series."""
        return told_by(SeriesInfo(*self.key), self.told(read_info))

    def known_info(self) -> SeriesInfo:
        """Return what those footers tell that can be read."""
        return told_by(SeriesInfo(*self.key), [(part, info) for part, info in self.told(_readable) if info])

    def readable_info(self) -> SeriesInfo:
        """Return what those footers tell that can be read, and why the others cannot."""
        try:
            return self.info()
        except CorruptPart as error:
            told = [(part, info) for part, info in self.told(_readable) if info]
            return replace(told_by(SeriesInfo(*self.key), told), problem=str(error))
        except StoreError as error:
            return replace(SeriesInfo(*self.key), problem=str(error))

    # Writing. The caller holds the lock.

    def save(
        self, table: pa.Table, provenance: Provenance, covers: Interval | None, gateway_version: str = ""
    ) -> SaveReport:
        """Lay `table` over what is stored, as one step: a reader sees all of it or nothing.

        Whatever can be refused is refused before anything is written. Parts that cannot be read are set aside.
        """
        refuse_outside(table, covers)
        self._tidy()
        known = [(part, _readable(part)) for part in self.parts()]
        _refuse_others(known, provenance)
        report = self._set_all_aside([part for part, info in known if info is None], provenance, None)
        parts = {part.period: part for part in (self.parts() if report.set_aside else [part for part, _ in known])}
        stamp = PartInfo(provenance, Coverage(), datetime.now(UTC), gateway_version)
        saves = []
        for period in periods_of(self.timeframe, stamps_of(table), covers, list(parts)):
            old, aside = self._read_or_set_aside(parts.get(period), provenance)
            save = self._merge_part(period, old, table, covers, stamp)
            report += replace(save.report, set_aside=aside)
            saves.append(save)
        self._put([(save.period, save.merged, save.info) for save in saves if save.changes])
        return report

    def fold(self, limit: int | None = None, but: Collection[int] = ()) -> int:
        """Fold months of years that have passed into their year; return how many parts went.

        At most so many years are folded, `but` not these: they are still being filled. Raises `CorruptPart` when one
        cannot be read, and changes nothing of its year.
        """
        self._tidy()
        years = self.due(but)
        parts = {part.period: part for part in self.parts()} if years else {}
        for year, months in years[:limit]:
            chosen = [parts[month] for month in months]
            infos = [read_info(part) for part in chosen]
            newest = max(infos, key=lambda info: info.fetched_at)
            joined = replace(
                newest,
                coverage=Coverage(span for info in infos for span in info.coverage),
                lost=Coverage(span for info in infos for span in info.lost),
            )
            table = pa.concat_tables([read_whole(part) for part in chosen])
            self._put([(year, table, joined)], gone=[part.path for part in chosen])
        return sum(len(months) - 1 for _, months in years[:limit])

    def due(self, but: Collection[int] = ()) -> list[tuple[Interval, list[Interval]]]:
        """Return the years that can be folded, `but` not these, each with its months."""
        return [(year, months) for year, months in foldable(self.periods()).items() if year.begin.year not in but]

    def forget(self, interval: Interval) -> None:
        """Take an interval out of the coverage; the bars in it stay until others are saved in their place."""
        self._tidy()
        changed = []
        for part in self.parts(interval.begin, interval.end):
            info = read_info(part)
            left = Coverage(rest for span in info.coverage for rest in Coverage([interval]).missing(span))
            if left != info.coverage:
                changed.append((part.period, read_whole(part), replace(info, coverage=left)))
        self._put(changed)

    def drop(self, before: datetime) -> int:
        """Let all bars go that start before an instant, and what is covered there, as one step; return how many."""
        self._tidy()
        changed, gone, dropped = [], [], 0
        for part in self.parts(ALWAYS[0], before):
            info, bars = read_info(part), read_whole(part)
            rest = between(bars, before, ALWAYS[1])
            left = replace(info, coverage=info.coverage.clip(before, ALWAYS[1]), lost=info.lost.clip(before, ALWAYS[1]))
            dropped += bars.num_rows - rest.num_rows
            if rest.num_rows or left.coverage or left.lost:
                changed.append((part.period, rest, left))
            else:
                gone.append(part.path)
        self._put(changed, gone)
        return dropped

    def set_aside(self, provenance: Provenance, as_of: datetime | None = None, *, pages: bool = False) -> SaveReport:
        """Put parts aside whose footers cannot be read, and say in their place that their bars are lost.

        `as_of` is when they were written at the latest, where the files' own times do not tell. With `pages` all bars
        are read, and parts go aside whose footers are whole but not their pages.
        """
        self._tidy()
        known = [(part, _readable(part)) for part in self.parts()]
        report = self._set_all_aside([part for part, info in known if info is None], provenance, as_of)
        for part, info in known if pages else ():
            if info is not None:
                report += SaveReport(set_aside=self._read_or_set_aside(part, provenance)[1])
        return report

    def _set_all_aside(self, unreadable: Sequence[Part], provenance: Provenance, as_of: datetime | None) -> SaveReport:
        return SaveReport(set_aside=tuple(self._set_aside(part, provenance, None, as_of) for part in unreadable))

    def _read_or_set_aside(
        self, part: Part | None, provenance: Provenance
    ) -> tuple[tuple[pa.Table, PartInfo] | None, tuple[Path, ...]]:
        if part is None:
            return None, ()
        info = read_info(part)
        try:
            return (recall(part), info), ()
        except CorruptPart:
            aside = self._set_aside(part, provenance, info)
            (stand_in,) = self.parts(part.period.begin, part.period.end)
            return (read_whole(stand_in), read_info(stand_in)), (aside,)

    def _set_aside(
        self, part: Part, provenance: Provenance, info: PartInfo | None, as_of: datetime | None = None
    ) -> Path:
        stand_in = PartInfo(provenance, Coverage(), datetime.now(UTC), lost=lost_in(info, part, as_of))
        if info is None:
            stand_in = replace(stand_in, lost=self._with_sessions(stand_in.lost, stand_in))
        aside = keep_aside(part)
        self._put([(part.period, SCHEMA.empty_table(), stand_in)])
        return aside

    def _merge_part(
        self,
        period: Interval,
        old: tuple[pa.Table, PartInfo] | None,
        table: pa.Table,
        covers: Interval | None,
        stamp: PartInfo,
    ) -> _PartSave:
        before, info = old or (SCHEMA.empty_table(), stamp)
        covered = Coverage([covers] if covers else []).clip(period.begin, period.end)
        merged, report = merge(before, between(table, period.begin, period.end), next(iter(covered), None))
        lost = info.lost
        if lost and covered:
            lost = self._with_sessions(Coverage(gap for span in lost for gap in covered.missing(span)), stamp)
        after = replace(stamp, coverage=info.coverage | covered, lost=lost)
        changes = report.changed or (after.coverage, after.lost) != (info.coverage, info.lost)
        return _PartSave(period, merged, after, report, changes)

    def _with_sessions(self, lost: Coverage, info: PartInfo) -> Coverage:
        """Return the intervals in which there is a session: of the others there is nothing to be fetched again."""
        calendar = session_calendar(use_rth=info.provenance.use_rth)
        return Coverage(span for span in lost if calendar.during(span.begin, span.end, self.timeframe))

    def _put(self, parts: Sequence[tuple[Interval, pa.Table, PartInfo]], gone: Sequence[Path] = ()) -> None:
        """Let new parts take their places, and old ones go, as one step."""
        moves: dict[Path, Path] = {}
        try:
            for period, table, info in parts:
                path = self.folder / part_name(period)
                moves[path] = write_part(path, table, info)
        except BaseException:
            for temporary in moves.values():
                temporary.unlink(missing_ok=True)
            raise
        if moves or gone:
            replace_all(self.home, moves, gone)

    def _tidy(self) -> None:
        """Finish what a writer that died had decided, and remove what it had not."""
        settle(self.home)
        sweep(self.folder)


@dataclass(frozen=True, slots=True)
class _PartSave:
    """What a save does to one part."""

    period: Interval
    merged: pa.Table
    info: PartInfo
    report: SaveReport
    changes: bool


def refuse_outside(table: pa.Table, covers: Interval | None) -> None:
    """Raise `InvalidBars` when some of the bars lie outside the interval that they are said to cover."""
    stamps = stamps_of(table)  # sorted
    if covers is None or not len(stamps):
        return
    if stamps[0] < to_micros(covers.begin) or stamps[-1] >= to_micros(covers.end):
        raise InvalidBars(f"some of the bars lie outside {covers}, which they are said to cover")


def years_of(table: pa.Table, covers: Interval | None) -> set[int]:
    """Return the years that a save of these bars touches."""
    return {period.begin.year for period in periods_of(TIMEFRAMES["1day"], stamps_of(table), covers, [])}


def _refuse_others(told: Iterable[tuple[Part, PartInfo | None]], provenance: Provenance) -> None:
    for part, stored in told:
        if stored is not None and stored.provenance != provenance:
            raise SourceMismatch(
                f"{part.path} holds {stored.provenance}; {provenance} must not mix with them. Keep them in a data "
                "folder of their own (data_dir in workbench.toml, or WORKBENCH_DATA_DIR)"
            )


def _readable(part: Part) -> PartInfo | None:
    """Return what a part's footer tells, or None when it is corrupt."""
    try:
        return read_info(part)
    except CorruptPart:
        return None
