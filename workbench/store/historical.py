"""The parquet store: what was fetched, by symbol, timeframe and price.

    <data_dir>/stocks/AAPL/15min.parquet/2025.parquet      a folder of parts is one series
    <data_dir>/indices/SPY/1min.parquet/2025.parquet       years that have passed are one part
    <data_dir>/indices/SPY/1min.parquet/2026-11.parquet    the newest year of fine bars is one a month
    <data_dir>/stocks/AAPL/15min-MIDPOINT.parquet/…        prices other than trades

Any tool that reads parquet opens a series by its folder. (While months are folded into their year, or several parts
change at once, for some 0.1 ms a part such a tool may find a bar twice, or parts of both sides of the change; what
loads through this module does not.) A store holds bars of one source only: simulated and real prices never mix.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from workbench import html
from workbench.errors import InvalidInput, InvalidInterval, StoreError
from workbench.market.bars import COLUMNS, to_frame, to_table
from workbench.market.contracts import check_what_to_show, folder_name
from workbench.market.coverage import Coverage, Interval
from workbench.market.names import as_names
from workbench.market.sessions import parse_bound
from workbench.market.timeframes import TIMEFRAMES, Timeframe, parse_timeframe
from workbench.market.universe import Universe, default_universe
from workbench.store.catalog import record
from workbench.store.database import DatabaseManager
from workbench.store.door import Door
from workbench.store.footer import SHARES, Provenance
from workbench.store.merge import SaveReport
from workbench.store.panel import Panel, PanelCache
from workbench.store.parts import ALWAYS
from workbench.store.review import Review
from workbench.store.series import Series, refuse_outside, years_of
from workbench.store.seriesinfo import SeriesInfo
from workbench.store.source import claim_source, read_source, refuse_source
from workbench.store.upkeep import CompactReport, ReindexReport, compact, reindex

if TYPE_CHECKING:
    import polars as pl

logger = logging.getLogger(__name__)

BY_UTC = "first and last are the starts of bars, in UTC"


class HistoricalDataManager:
    """The store of bars below `data_dir`.

    `database` receives the metadata of each series that is saved; `update` is what fetches a series' newest bars
    (the app hands in the backfill). Several processes may write at once: each series has a lock.
    """

    def __init__(
        self,
        data_dir: str | Path = "./data/historical",
        *,
        universe: Universe | None = None,
        database: DatabaseManager | None = None,
        update: Callable[[str, str], object] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self.data_dir = Path(data_dir)
        self.universe = default_universe() if universe is None else universe
        self._database = database
        self._update = update
        self._door = Door(self.data_dir, self.universe)
        self._cache_dir = cache_dir or self.data_dir.parent / "cache"

    def __repr__(self) -> str:
        return f"HistoricalDataManager({str(self.data_dir)!r})"

    def _repr_html_(self) -> str:
        told = {"folder": str(self.data_dir), "source": self.source or "nothing is stored yet"}
        return html.card("Stored bars", html.facts(told), html.table(self.overview()), html.note(BY_UTC))

    @property
    def review(self) -> Review:
        """The bars that were held back, and what was decided about them."""
        return self._door.review

    @property
    def source(self) -> str | None:
        """Where the bars of this store come from; None when nothing was saved yet."""
        return read_source(self.data_dir)

    def save_bars(
        self,
        symbol: str,
        timeframe: str,
        bars: pd.DataFrame,
        *,
        what_to_show: str = "TRADES",
        use_rth: bool = True,
        source: str | None = None,
        covers: Interval | None = None,
        volume_unit: str = SHARES,
        gateway_version: str = "",
    ) -> SaveReport:
        """Lay `bars` over what is stored of a series and say what that changed.

        Where a timestamp is stored already, the new bar stands. `covers` says that the bars are all there is in
        that interval: it becomes coverage, and stored bars in it that are not among them go. `source` names where
        the bars come from; without it they are taken to be of the store's own source. A part in the way that cannot
        be read is set aside, kept under another name, which the report gives. A bar that looks wrong is held back for
        review, and its time is not covered.

        Raises `InvalidBars`, `SourceMismatch` (of these, nothing is stored), `StoreError`.
        """
        series = self._series(symbol, timeframe, what_to_show)
        table = to_table(bars, series.timeframe)
        refuse_outside(table, covers)  # before the source is claimed
        sifted = self._door.sift(series, table, use_rth=use_rth)
        with series.lock():
            kept_source = claim_source(self.data_dir, source)
            provenance = Provenance(kept_source, what_to_show, use_rth, volume_unit)
            self._door.hold(series, sifted, provenance)
            saves = [series.save(some, provenance, span, gateway_version) for some, span in sifted.pieces(covers)]
            report = sum(saves, SaveReport(held_back=len(sifted.held)))
            self._door.settle(series, sifted, covers)
            _warn_of(report)
            self._record(series)
            self._fold_a_year(series, table, covers)
        return report

    def load_bars(
        self,
        symbol: str,
        timeframe: str,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        columns: str | Sequence[str] | None = None,
        *,
        what_to_show: str = "TRADES",
    ) -> pd.DataFrame:
        """Return the stored bars whose timestamp lies in `[start, end)`, indexed by timestamp in UTC.

        A date alone is that date on the exchange's clock, or the label of a daily bar. A series that was never stored
        gives an empty frame, and a warning in the log. Raises `CorruptPart` when a part that is needed cannot be read.
        """
        wanted, series = _columns(columns), self._series(symbol, timeframe, what_to_show)
        begin, until = _bounds(start, end, series.timeframe)
        table = series.load(begin, until, wanted)
        if not table.num_rows and not series.has_parts():
            logger.warning("nothing is stored of %s %s %s in %s", symbol, timeframe, what_to_show, self.data_dir)
        return to_frame(table)

    def load_many(
        self,
        symbols: str | Sequence[str],
        timeframe: str,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        columns: str | Sequence[str] | None = None,
        *,
        what_to_show: str = "TRADES",
    ) -> pl.DataFrame:
        """Return the stored bars of many symbols as one polars frame: `symbol`, `timestamp` (UTC), the columns.

        Bounds are those of `load_bars`. The rows come symbol by symbol in the order asked for, each in the order of
        time and as it was at one instant; a symbol of which nothing is stored has none. A part's checksums are verified
        when this process reads it for the first time. Raises `CorruptPart`.
        """
        from workbench.store import many

        wanted, chosen = _columns(columns), as_names(symbols)
        begin, until = _bounds(start, end, parse_timeframe(timeframe))
        return many.load(self._several(chosen, timeframe, what_to_show), begin, until, wanted)

    def scan(self, symbols: str | Sequence[str], timeframe: str, *, what_to_show: str = "TRADES") -> pl.LazyFrame:
        """Return the stored bars of many symbols as one lazy polars frame with a column `symbol`.

        Symbols of which nothing is stored are left out; with none at all, `StoreError`. All of them are read once, to
        verify their checksums: `CorruptPart` is raised here. polars reads the files when the frame is collected, and
        not as of one instant: what was saved since may be in it, and where months were folded or a file was damaged
        since, it fails with an error of polars' own. Scan again then; `load_many` has neither weakness.
        """
        from workbench.store import many

        chosen = as_names(symbols)
        if not chosen:
            raise InvalidInput("no symbols were named")
        scanned = many.scan(self._several(chosen, timeframe, what_to_show))
        if scanned is None:
            raise StoreError(f"nothing is stored of {', '.join(chosen)} at {timeframe}; backfill first")
        return scanned

    def panel(
        self, timeframe: str, symbols: str | Sequence[str], bars: int = 500, *, what_to_show: str = "TRADES"
    ) -> Panel:
        """Return the newest stored bars of many symbols as arrays, a row a symbol: `panel["close"]`, `.timestamps`.

        They are kept in a memory-mapped cache; what has been saved since is read anew first. Raises `CorruptPart`.
        """
        chosen = as_names(symbols)
        series = self._several(chosen, timeframe, what_to_show)
        name = f"{parse_timeframe(timeframe)}-{what_to_show}"
        return PanelCache(self._cache_dir / "panel" / name, self.data_dir).open(series, bars)

    def coverage(self, symbol: str, timeframe: str, *, what_to_show: str = "TRADES") -> Coverage:
        """Return the intervals of a series that were asked for and are stored, empty ones included."""
        return self._series(symbol, timeframe, what_to_show).coverage()

    def known_info(self, symbol: str, timeframe: str, *, what_to_show: str = "TRADES") -> SeriesInfo:
        """Return what is known of a series where it can be read: the rest must be fetched again. Changes nothing."""
        return self._series(symbol, timeframe, what_to_show).known_info()

    def version(self, symbol: str, timeframe: str, *, what_to_show: str = "TRADES") -> Hashable:
        """Return what changes whenever the stored bars of a series do, and equals itself while they do not.

        It is told by the names, inodes, times and sizes of the parts: nothing is opened. Raises `StoreError`.
        """
        return tuple(part.identity for part in self._series(symbol, timeframe, what_to_show).parts())

    def forget(self, symbol: str, timeframe: str, interval: Interval, *, what_to_show: str = "TRADES") -> None:
        """Take an interval out of the coverage, so that it is fetched again; its bars stay until then."""
        series = self._series(symbol, timeframe, what_to_show)
        with series.lock():
            series.forget(interval)
            self._record(series)

    def drop_before(self, symbol: str, timeframe: str, before: datetime, *, what_to_show: str = "TRADES") -> int:
        """Let the bars of a series go that start before an instant; return how many. They are not covered any more."""
        series = self._series(symbol, timeframe, what_to_show)
        with series.lock():
            dropped = series.drop(before)
            self._record(series)
        return dropped

    def refuse_others(
        self,
        symbol: str,
        timeframe: str,
        *,
        source: str,
        what_to_show: str = "TRADES",
        use_rth: bool = True,
        volume_unit: str = SHARES,
    ) -> None:
        """Raise `SourceMismatch` when what is stored has another source, or is of other hours."""
        refuse_source(self.data_dir, source)
        provenance = Provenance(source, what_to_show, use_rth, volume_unit)
        self._series(symbol, timeframe, what_to_show).refuse_others(provenance)

    def set_aside_corrupt(
        self,
        symbol: str,
        timeframe: str,
        *,
        source: str,
        what_to_show: str = "TRADES",
        use_rth: bool = True,
        as_of: datetime | None = None,
        pages: bool = False,
        volume_unit: str = SHARES,
    ) -> SaveReport:
        """Put parts aside whose footers cannot be read, so that their periods are not covered and are fetched again.

        The files are kept under the names that the report gives. Until their bars are fetched again, reading that
        period raises `CorruptPart`. The arguments are those of a backfill; `as_of` is its time. With `pages` all bars
        are read, to find damage that the footers do not show.
        """
        series = self._series(symbol, timeframe, what_to_show)
        if not (pages or series.has_unreadable()):
            return SaveReport()
        with series.lock():
            report = series.set_aside(Provenance(source, what_to_show, use_rth, volume_unit), as_of, pages=pages)
        _warn_of(report)
        return report

    def compact(self, symbols: str | Sequence[str] = (), timeframes: str | Sequence[str] = ()) -> CompactReport:
        """Fold all months of years that have passed into their years, of these series or of all; clear left-overs.

        Every save folds a year of its own series, so this has something to do where a large import or a writer that
        died left some. A series that cannot be folded is named and does not stop the others.
        """
        names, lengths = as_names(symbols), [parse_timeframe(name) for name in as_names(timeframes)]
        return compact(
            series
            for series in self._stored()
            if (not names or series.symbol in names) and (not lengths or series.timeframe in lengths)
        )

    def reindex(self) -> ReindexReport:
        """Rebuild what the database tells of the store from the files themselves."""
        if self._database is None:
            raise StoreError("this store has no database; open it with workbench.open()")
        return reindex(self._database, self._stored)

    def update_historical_data(self, symbol: str, timeframe: str) -> object:
        """Fetch and save what IB has of all that is missing since the first stored bar, whatever the gap."""
        if self._update is None:
            raise StoreError("this store has no gateway to fetch from; open it with workbench.open()")
        return self._update(symbol, str(parse_timeframe(timeframe)))

    def series(self) -> list[SeriesInfo]:
        """Return what is stored, read from the parts themselves: by symbol, from short bars to long."""
        return [series.readable_info() for series in self._stored()]

    def symbols(self) -> list[str]:
        """Return the symbols of which something is stored."""
        return list(dict.fromkeys(one.symbol for one in self._stored()))

    def overview(self, most: int = 600) -> pd.DataFrame:
        """Return how much is stored, a row a timeframe; of more than `most` series only how many there are."""
        stored = self._stored()
        keys = pd.DataFrame(
            [(str(one.timeframe), one.symbol, one.what_to_show) for one in stored],
            columns=["timeframe", "symbol", "what_to_show"],
        )
        if len(stored) > most or keys.empty:
            return keys.groupby("timeframe").agg(symbols=("symbol", "nunique")).reset_index()
        catalog = self.catalog()
        longest = [name for name in TIMEFRAMES if name in set(catalog["timeframe"])]
        told = catalog.groupby("timeframe").agg(
            symbols=("symbol", "nunique"), bars=("bars", "sum"), first=("first", "min"), last=("last", "max")
        )
        return told.loc[longest].reset_index()

    def home(self, symbol: str) -> Path:
        """Return the folder in which the series of a symbol lie, or would lie."""
        return _home(self.data_dir, self.universe.contract(symbol).folder, symbol)

    def record(self, symbol: str) -> None:
        """Bring what the database tells of a symbol up to date with its files."""
        for series in self.series_of(symbol):
            self._record(series)

    def series_of(self, symbol: str) -> list[Series]:
        """Return the series of a symbol of which there are files."""
        return _found(self.home(symbol), "*.parquet")

    def catalog(self) -> pd.DataFrame:
        """Return what is stored as a table, a row a series; `first` and `last` are bar starts in UTC."""
        names = ["symbol", "timeframe", "what_to_show", "bars", "first", "last", "bytes", "parts", "source", "problem"]
        return pd.DataFrame([[getattr(info, name) for name in names] for info in self.series()], columns=names)

    def _several(self, symbols: Sequence[str], timeframe: str, what_to_show: str) -> dict[str, Series]:
        name = _folder_of(timeframe, what_to_show)
        return {symbol: _series_at(self.home(symbol), name) for symbol in symbols}

    def _series(self, symbol: str, timeframe: str, what_to_show: str) -> Series:
        return _series_at(self.home(symbol), _folder_of(timeframe, what_to_show))

    def _stored(self) -> list[Series]:
        return _found(self.data_dir, "*/*/*.parquet")

    def _fold_a_year(self, series: Series, table: pa.Table, covers: Interval | None) -> None:
        """Fold the oldest year that is due and not being filled. If this fails, the bars are stored none the less."""
        try:
            if series.due():
                series.fold(limit=1, but=years_of(table, covers))
        except StoreError as error:
            logger.warning("the months of a past year stay as they are: %s", error)

    def _record(self, series: Series) -> None:
        """Bring the catalogue up to date."""
        if self._database is None:
            return
        info = series.info()
        try:
            record(self._database, info)
        except StoreError as error:
            raise StoreError(f"the bars are stored, but not recorded until the next save: {error}") from error


def _folder_of(timeframe: str, what_to_show: str) -> str:
    suffix = "" if check_what_to_show(what_to_show) == "TRADES" else f"-{what_to_show}"
    return f"{parse_timeframe(timeframe)}{suffix}.parquet"


@lru_cache(maxsize=65_536)
def _series_at(home: Path, name: str) -> Series:
    """Return a series of a symbol: made once, for a panel asks for thousands of them each time."""
    return Series.at(home / name)


@lru_cache(maxsize=16_384)
def _home(data_dir: Path, folder: str, symbol: str) -> Path:
    return data_dir / folder / folder_name(symbol)


def _found(folder: Path, pattern: str) -> list[Series]:
    """Return the series of which there are files, by symbol, from short bars to long."""
    found = [Series.at(path) for path in folder.glob(pattern) if not path.name.startswith(".")]
    found.sort(key=lambda series: (series.folder.parent, series.timeframe.seconds, series.what_to_show))
    return [series for series in found if series.has_parts()]


def _columns(columns: str | Sequence[str] | None) -> list[str]:
    wanted = as_names(COLUMNS if columns is None else columns)
    unknown = [name for name in wanted if name not in COLUMNS]
    if unknown:
        raise InvalidInput(f"bars have no column {', '.join(unknown)}; they have {', '.join(COLUMNS)}")
    return wanted


def _bounds(
    start: str | date | datetime | None, end: str | date | datetime | None, timeframe: Timeframe
) -> tuple[datetime, datetime]:
    begin = ALWAYS[0] if start is None else parse_bound(start, timeframe)
    until = ALWAYS[1] if end is None else parse_bound(end, timeframe)
    if until <= begin:
        raise InvalidInterval(f"the end {until} does not lie after the begin {begin}")
    return begin, until


def _warn_of(report: SaveReport) -> None:
    for path in report.set_aside:
        logger.warning("a part could not be read and is kept as %s; its bars must be fetched again", path)
