"""The parquet store: what was fetched, by symbol, timeframe and price.

    <data_dir>/stocks/AAPL/15min.parquet/2025.parquet      a folder of parts is one series
    <data_dir>/indices/SPY/1min.parquet/2026-11.parquet
    <data_dir>/stocks/AAPL/15min-MIDPOINT.parquet/…        prices other than trades

Any tool that reads parquet opens a series by its folder. A store holds bars of one source only: simulated and real
prices never mix.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workbench.errors import InvalidInput, InvalidInterval, StoreError
from workbench.market.bars import COLUMNS, to_frame, to_table
from workbench.market.contracts import check_what_to_show, folder_name
from workbench.market.coverage import Coverage, Interval
from workbench.market.names import as_names
from workbench.market.sessions import parse_bound
from workbench.market.timeframes import parse_timeframe
from workbench.market.universe import Universe, default_universe
from workbench.store.database import DatabaseManager
from workbench.store.merge import SaveReport
from workbench.store.parts import Provenance
from workbench.store.series import Series, SeriesInfo, refuse_outside
from workbench.store.source import claim_source, read_source, refuse_source

if TYPE_CHECKING:
    import polars as pl

logger = logging.getLogger(__name__)

_ALWAYS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


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
    ) -> None:
        self.data_dir = Path(data_dir)
        self.universe = default_universe() if universe is None else universe
        self._database = database
        self._update = update

    def __repr__(self) -> str:
        return f"HistoricalDataManager({str(self.data_dir)!r})"

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
    ) -> SaveReport:
        """Lay `bars` over what is stored of a series and say what that changed.

        Where a timestamp is stored already, the new bar stands. `covers` says that the bars are all there is in
        that interval: it becomes coverage, and stored bars in it that are not among them go. `source` names where
        the bars come from; without it they are taken to be of the store's own source.

        Raises `InvalidBars`, `SourceMismatch`, `CorruptPart` (of these, nothing is stored), `StoreError`.
        """
        series = self._series(symbol, timeframe, what_to_show)
        table = to_table(bars, series.timeframe)
        refuse_outside(table, covers)  # before the source is claimed
        with series.lock():
            kept_source = claim_source(self.data_dir, source)
            report = series.save(table, Provenance(kept_source, what_to_show, use_rth), covers)
            self._record(series.info())
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
        wanted = as_names(COLUMNS if columns is None else columns)
        unknown = [name for name in wanted if name not in COLUMNS]
        if unknown:
            raise InvalidInput(f"bars have no column {', '.join(unknown)}; they have {', '.join(COLUMNS)}")
        series = self._series(symbol, timeframe, what_to_show)
        begin = _ALWAYS[0] if start is None else parse_bound(start, series.timeframe)
        until = _ALWAYS[1] if end is None else parse_bound(end, series.timeframe)
        if until <= begin:
            raise InvalidInterval(f"the end {until} does not lie after the begin {begin}")
        if not series.parts():
            logger.warning("nothing is stored of %s %s %s in %s", symbol, timeframe, what_to_show, self.data_dir)
        return to_frame(series.load(begin, until, wanted))

    def scan(self, symbols: str | Sequence[str], timeframe: str, *, what_to_show: str = "TRADES") -> pl.LazyFrame:
        """Return the stored bars of many symbols as one lazy polars frame with a column `symbol`.

        Symbols of which nothing is stored are left out; with none at all, `StoreError`.
        """
        import polars as pl

        chosen = as_names(symbols)
        stored = {symbol: self._series(symbol, timeframe, what_to_show).parts() for symbol in chosen}
        frames = [
            pl.scan_parquet(parts, glob=False).with_columns(symbol=pl.lit(symbol))
            for symbol, parts in stored.items()
            if parts
        ]
        if not frames:
            raise StoreError(f"nothing is stored of {', '.join(chosen) or 'no symbols'} at {timeframe}; backfill first")
        return pl.concat(frames)

    def coverage(self, symbol: str, timeframe: str, *, what_to_show: str = "TRADES") -> Coverage:
        """Return the intervals of a series that were asked for and are stored, empty ones included."""
        return self._series(symbol, timeframe, what_to_show).coverage()

    def refuse_others(
        self, symbol: str, timeframe: str, *, source: str, what_to_show: str = "TRADES", use_rth: bool = True
    ) -> None:
        """Raise `SourceMismatch` when what is stored has another source, or is of other hours."""
        refuse_source(self.data_dir, source)
        self._series(symbol, timeframe, what_to_show).refuse_others(Provenance(source, what_to_show, use_rth))

    def update_historical_data(self, symbol: str, timeframe: str) -> object:
        """Fetch and save what IB has of all that is missing since the first stored bar, whatever the gap."""
        if self._update is None:
            raise StoreError("this store has no gateway to fetch from; open it with workbench.open()")
        return self._update(symbol, str(parse_timeframe(timeframe)))

    def series(self) -> list[SeriesInfo]:
        """Return what is stored, read from the parts themselves: by symbol, from short bars to long."""
        found = [Series.at(folder) for folder in self.data_dir.glob("*/*/*.parquet")]
        found.sort(key=lambda series: (series.folder.parent, series.timeframe.seconds, series.what_to_show))
        return [series.readable_info() for series in found if series.parts()]

    def catalog(self) -> pd.DataFrame:
        """Return what is stored as a table, a row a series; `first` and `last` are bar starts in UTC."""
        names = ["symbol", "timeframe", "what_to_show", "bars", "first", "last", "bytes", "source", "problem"]
        return pd.DataFrame([[getattr(info, name) for name in names] for info in self.series()], columns=names)

    def _series(self, symbol: str, timeframe: str, what_to_show: str) -> Series:
        suffix = "" if check_what_to_show(what_to_show) == "TRADES" else f"-{what_to_show}"
        home = self.data_dir / self.universe.contract(symbol).folder / folder_name(symbol)
        return Series.at(home / f"{parse_timeframe(timeframe)}{suffix}.parquet")

    def _record(self, info: SeriesInfo) -> None:
        """Bring the SQL metadata up to date; its table knows one series of a symbol and timeframe, the trades."""
        if self._database is None or info.what_to_show != "TRADES":
            return
        try:
            if info.first is None or info.last is None:
                self._database.delete_series_metadata(info.symbol, info.timeframe)
            else:
                self._database.save_series_metadata(
                    info.symbol, info.timeframe, start=info.first, end=info.last, bar_count=info.bars
                )
        except StoreError as error:
            raise StoreError(f"the bars are stored, but not recorded until the next save: {error}") from error
