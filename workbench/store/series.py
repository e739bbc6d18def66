"""One series: a folder of parts, disjoint in time.

Readers take no lock. They list the parts, open them, and list again: when both lists are the same, what they hold open
is the series as it was at one instant, and stays readable whatever is written meanwhile. Writers hold the series' lock,
write all they will change beside the folder, and let it take its place as one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from workbench.errors import CorruptPart, InvalidBars, SourceMismatch, StoreError
from workbench.market.bars import SCHEMA, TIMESTAMP
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES, Timeframe, parse_timeframe
from workbench.store.commit import pending, replace_all, settle
from workbench.store.files import locked
from workbench.store.footer import PartInfo, Provenance
from workbench.store.layout import foldable, overlapping, parse_part_name, part_name, periods_of
from workbench.store.merge import SaveReport, merge
from workbench.store.parts import (
    ALWAYS,
    Part,
    PartChanged,
    between,
    find_part,
    keep_aside,
    lost_in,
    opened,
    read_bars,
    read_info,
    read_whole,
    refuse_lost,
    stamps_of,
    sweep,
    write_part,
)

_ATTEMPTS = 500
_PAUSE_S = 0.001

_Info = TypeVar("_Info", PartInfo, PartInfo | None)

Each = Callable[[Callable[..., Any], Sequence[Any]], Iterator[Any]]
"""What applies a function to each element: `map`, or that of a pool of threads."""


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What a stored series holds, told by its parts' footers. `first` and `last` are bar starts in UTC."""

    symbol: str
    timeframe: str
    what_to_show: str
    source: str = ""
    bars: int = 0
    first: datetime | None = None
    last: datetime | None = None
    coverage: Coverage = Coverage()  # noqa: RUF009  a value
    bytes: int = 0
    parts: int = 0
    fetched_at: datetime | None = None
    gateway_version: str = ""
    use_rth: bool = True
    volume_unit: str = ""
    problem: str = ""
    """Why some of it cannot be read, or nothing."""


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

    @property
    def home(self) -> Path:
        """The folder of the symbol, in which all its series lie."""
        return self.folder.parent

    @property
    def symbol(self) -> str:
        """The symbol, as its folder tells it."""
        return self.home.name.rstrip("_")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers of this series out, those of other processes too."""
        with locked(self.home / f".{self.folder.stem}.lock", str(self.folder)):
            yield

    # Reading

    def parts(self, begin: datetime = ALWAYS[0], end: datetime = ALWAYS[1]) -> list[Part]:
        """Return the parts that may hold bars of `[begin, end)`, in the order of time.

        Raises `StoreError` when two of them share time: somebody copied files.
        """
        change = pending(self.home)
        contents = {name: self.folder / name for name in self._names()}
        if change is not None:
            contents |= {final.name: self.home / to for final, to in change.moves.items() if self._is_mine(final)}
            contents = {name: at for name, at in contents.items() if Path(self.folder.name, name) not in change.gone}
        found = [part for name, at in contents.items() if (part := self._find(name, at))]
        shared = overlapping(part.period for part in found)
        if shared:
            raise StoreError(
                f"{self.folder} holds {part_name(shared[0])} and {part_name(shared[1])}, which share time; "
                "move the one away that does not belong there"
            )
        near = [part for part in found if part.period.begin < end and begin < part.period.end]
        return sorted(near, key=lambda part: part.period)

    def load(self, begin: datetime, end: datetime, columns: Sequence[str], each: Each = map) -> pa.Table:
        """Return the bars that start in `[begin, end)`, as the series was at one instant; timestamps come first.

        `each` applies a function to many parts. Raises `CorruptPart`.
        """

        def read(one: tuple[Part, pa.NativeFile]) -> pa.Table:
            return read_bars(*one, columns, begin, end)

        with self._held(begin, end) as held:
            tables = list(each(read, held))
        return pa.concat_tables(tables or [SCHEMA.empty_table().select([TIMESTAMP, *columns])])

    def coverage(self) -> Coverage:
        """Return the intervals that were asked for and are stored."""
        return Coverage(span for _, info in self._told(read_info) for span in info.coverage)

    def refuse_others(self, provenance: Provenance) -> None:
        """Raise `SourceMismatch` when what is stored has another source, or is of other hours.

        What cannot be read has no say.
        """
        for part, stored in self._told(_readable):
            if stored is not None and stored.provenance != provenance:
                raise SourceMismatch(
                    f"{part.path} holds {stored.provenance}; {provenance} must not mix with them. Keep them in a data "
                    "folder of their own (data_dir in workbench.toml, or WORKBENCH_DATA_DIR)"
                )

    def has_parts(self) -> bool:
        """Tell whether anything is stored, readable or not."""
        return bool(self._names() or (pending(self.home) and self.parts()))

    def has_unreadable(self) -> bool:
        """Tell whether some part has a footer that cannot be read."""
        return any(info is None for _, info in self._told(_readable))

    def whole_parts(self) -> list[Part]:
        """Return the parts, of which none has lost bars. Raises `CorruptPart`."""
        told = self._told(read_info)
        for part, info in told:
            refuse_lost(part, info, *ALWAYS)
        return [part for part, _ in told]

    def info(self) -> SeriesInfo:
        """Return what the parts' footers tell of the series."""
        told = self._told(read_info)
        infos = [info for _, info in told]
        newest = max(infos, key=lambda info: info.fetched_at, default=None)
        bounds = [(info.first, info.last) for info in infos if info.rows]
        lost = Coverage(span for info in infos for span in info.lost)
        return SeriesInfo(
            symbol=self.symbol,
            timeframe=str(self.timeframe),
            what_to_show=self.what_to_show,
            source=newest.provenance.source if newest else "",
            bars=sum(info.rows for info in infos),
            first=bounds[0][0] if bounds else None,
            last=bounds[-1][1] if bounds else None,
            coverage=Coverage(span for info in infos for span in info.coverage),
            bytes=sum(part.bytes for part, _ in told),
            parts=len(told),
            fetched_at=newest.fetched_at if newest else None,
            gateway_version=newest.gateway_version if newest else "",
            use_rth=newest.provenance.use_rth if newest else True,
            volume_unit=newest.provenance.volume_unit if newest else "",
            problem="; ".join(f"bars of {span} could not be read, fetch them again" for span in lost),
        )

    def readable_info(self) -> SeriesInfo:
        """Return what the footers tell; of a series with a part that cannot be read, that."""
        try:
            return self.info()
        except StoreError as error:
            return SeriesInfo(self.symbol, str(self.timeframe), self.what_to_show, problem=str(error))

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir() if parse_part_name(path.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read as a folder of parts: {error.strerror}") from error

    def _is_mine(self, path: Path) -> bool:
        return path.parent == Path(self.folder.name)

    def _find(self, name: str, content: Path) -> Part | None:
        """Return the part of that name; None when it vanished since it was listed, which the next list shows."""
        path, period = self.folder / name, parse_part_name(name)
        assert period is not None  # noqa: S101  _names lists nothing else
        for at in (content, path):  # a temporary that is gone was renamed
            try:
                return find_part(path, period, at)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
        return None

    @contextmanager
    def _held(self, begin: datetime, end: datetime) -> Iterator[list[tuple[Part, pa.NativeFile]]]:
        """Hold the parts of `[begin, end)` open as they are at one instant."""
        for _ in range(_ATTEMPTS):
            with ExitStack() as stack:
                parts = self.parts(begin, end)
                try:
                    held = [(part, stack.enter_context(opened(part))) for part in parts]
                except PartChanged:
                    held = []
                if _same(parts, self.parts(begin, end)) and len(held) == len(parts):
                    yield held
                    return
            time.sleep(_PAUSE_S)
        raise StoreError(f"{self.folder} changes all the time, or holds a link that leads nowhere; try again later")

    def _told(self, read: Callable[[Part], _Info]) -> list[tuple[Part, _Info]]:
        """Return the parts and what their footers tell, as the series was at one instant."""
        for _ in range(_ATTEMPTS):
            parts = self.parts()
            try:
                told = [(part, read(part)) for part in parts]
            except PartChanged:
                continue
            if _same(parts, self.parts()):
                return told
        raise StoreError(f"{self.folder} changes all the time; try again later")

    # Writing. The caller holds the lock.

    def save(
        self, table: pa.Table, provenance: Provenance, covers: Interval | None, gateway_version: str = ""
    ) -> SaveReport:
        """Lay `table` over what is stored, as one step: a reader sees all of it or nothing.

        Whatever can be refused is refused before anything is written. Parts that cannot be read are set aside.
        """
        refuse_outside(table, covers)
        self._tidy()
        self.refuse_others(provenance)
        report = self.set_aside(provenance)
        parts = {part.period: part for part in self.parts()}
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
        before = self.parts()
        parts = {part.period: part for part in before}
        years = [(year, months) for year, months in foldable(parts).items() if year.begin.year not in but]
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
        return len(before) - len(self.parts())

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

    def set_aside(self, provenance: Provenance, as_of: datetime | None = None) -> SaveReport:
        """Put parts aside whose footers cannot be read, and say in their place that their bars are lost.

        `as_of` is when they were written at the latest, where the files' own times do not tell.
        """
        self._tidy()
        unreadable = [part for part in self.parts() if _readable(part) is None]
        return SaveReport(set_aside=tuple(self._set_aside(part, provenance, None, as_of) for part in unreadable))

    def _read_or_set_aside(
        self, part: Part | None, provenance: Provenance
    ) -> tuple[tuple[pa.Table, PartInfo] | None, tuple[Path, ...]]:
        if part is None:
            return None, ()
        info = read_info(part)
        try:
            return (read_whole(part), info), ()
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
        if moves:
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
    if covers is not None and between(table, covers.begin, covers.end).num_rows != table.num_rows:
        raise InvalidBars(f"some of the bars lie outside {covers}, which they are said to cover")


def years_of(table: pa.Table, covers: Interval | None) -> set[int]:
    """Return the years that a save of these bars touches."""
    return {period.begin.year for period in periods_of(TIMEFRAMES["1day"], stamps_of(table), covers, [])}


def _same(parts: Sequence[Part], others: Sequence[Part]) -> bool:
    return [part.identity for part in parts] == [part.identity for part in others]


def _readable(part: Part) -> PartInfo | None:
    """Return what a part's footer tells, or None when it is corrupt."""
    try:
        return read_info(part)
    except CorruptPart:
        return None
