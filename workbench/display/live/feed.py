"""Brings what the live journal receives to charts. One thread for all of them.

The journal is followed, not a connection: who records may be this kernel, another one, or `workbench live`. Longer bars
are built here from the journal's five-second bars, so that all who follow it see the same.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from types import MappingProxyType

import pandas as pd

from workbench.display.live.chart import LiveChart
from workbench.display.live.series import LiveSeries
from workbench.errors import StoreError
from workbench.indicators.engine import IndicatorEngine
from workbench.market.aggregate import ProvisionalBar, RealtimeBarAggregator
from workbench.market.coverage import Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.journal import LiveBar, LiveJournal

logger = logging.getLogger(__name__)

_FIVE = TIMEFRAMES["5sec"]
_SESSIONS = 5
"""So many of the journal's newest sessions are drawn, should the store not have them."""

Stored = Callable[[str, str], pd.DataFrame]
"""Returns the stored bars of a symbol and a timeframe, none where there are none."""


class LiveFeed:
    """Live bars of the journal for charts, from the first `attach` until `close`.

    Charts are updated as often as the journal is looked at, every `poll_s` seconds, and only when bars have come.
    """

    def __init__(self, journal: LiveJournal, engine: IndicatorEngine, stored: Stored, *, poll_s: float = 0.25) -> None:
        self._journal, self._engine, self._stored, self._poll_s = journal, engine, stored, poll_s
        self._followed: dict[LiveChart, LiveSeries] = {}
        self._aggregator = RealtimeBarAggregator()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._cursor = 0
        self._thread: threading.Thread | None = None

    def open(self, symbol: str, timeframe: str, **choices: object) -> LiveChart:
        """Return a chart of a series that moves with the journal; `choices` are those of `LiveChart`."""
        with self._lock:
            self._begin()
            series = self._series(symbol, timeframe, self._live_bars(symbol))
            chart = LiveChart(series.study, symbol=symbol, timeframe=timeframe, live=True, **choices)  # type: ignore[arg-type]
            self._followed[chart] = series
            self._bring_to_charts([symbol])
        return chart

    def turn(self, chart: LiveChart, symbol: str = "", timeframe: str = "") -> None:
        """Let a chart show another series from now on."""
        with self._lock:
            self._show(
                chart, symbol or chart.symbol, timeframe or chart.timeframe, self._live_bars(symbol or chart.symbol)
            )
            self._bring_to_charts([chart.symbol])

    def drop(self, chart: LiveChart) -> None:
        """Bring nothing to this chart any more."""
        with self._lock:
            self._followed.pop(chart, None)

    def close(self) -> None:
        """End the thread; the charts stand still."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    # -- the thread

    def _begin(self) -> None:
        if self._thread is not None:
            return
        self._cursor = self._journal.end()
        self._thread = threading.Thread(target=self._run, name="live-feed", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._poll_s):
                with self._lock:
                    self._look()
        except Exception as error:
            logger.exception("the charts have stopped")
            self._notice(f"this chart has stopped: {error}; run its cell again")
            self._thread = None

    def _look(self) -> None:
        """Bring what has come; while the journal cannot be read the charts say so."""
        self._followed = {chart: series for chart, series in self._followed.items() if chart.comm is not None}
        try:
            page = self._journal.read(self._cursor, {chart.symbol for chart in self._followed})
            if self._followed and page.bars:
                self._bring(page.bars)
            self._cursor = page.cursor
            self._notice("")
        except StoreError as error:
            self._notice(f"the live journal cannot be read: {error}")

    def _notice(self, text: str) -> None:
        for chart in self._followed:
            chart.notice = text

    def _bring(self, bars: Sequence[LiveBar]) -> None:
        complete: dict[str, list[ProvisionalBar]] = defaultdict(list)
        for bar in bars:
            complete[bar.symbol] += self._aggregator.add(*bar)
        late = {one.symbol for one in self._aggregator.late}
        self._aggregator.late.clear()
        for symbol in late:
            self._restart(symbol)
            del complete[symbol]
        self._bring_to_charts([*complete, *late], complete)

    def _bring_to_charts(
        self, symbols: Collection[str], complete: Mapping[str, list[ProvisionalBar]] = MappingProxyType({})
    ) -> None:
        """Bring complete bars and the forming ones to the charts of some symbols."""
        for chart, series in self._followed.items():
            if chart.symbol in symbols:
                done = [bar for bar in complete.get(chart.symbol, ()) if bar.timeframe == chart.timeframe]
                chart.update(series.take(done, self._aggregator.forming(chart.symbol, chart.timeframe)))

    def _restart(self, symbol: str) -> None:
        """Draw a symbol anew: bars have come that belong to what was complete."""
        live = self._live_bars(symbol)
        for chart in [chart for chart in self._followed if chart.symbol == symbol]:
            self._show(chart, symbol, chart.timeframe, live)

    def _show(self, chart: LiveChart, symbol: str, timeframe: str, live: Sequence[ProvisionalBar]) -> None:
        series = self._series(symbol, timeframe, live)
        chart.show(series.study, symbol=symbol, timeframe=timeframe)
        self._followed[chart] = series

    def _series(self, symbol: str, timeframe: str, live: Sequence[ProvisionalBar]) -> LiveSeries:
        # What the thread would stumble on later raises here, where it is asked for.
        self._aggregator.forming(symbol, timeframe)
        mine = [bar for bar in live if bar.timeframe == timeframe]
        return LiveSeries(self._engine, self._stored(symbol, timeframe), mine)

    def _live_bars(self, symbol: str) -> list[ProvisionalBar]:
        """Return the complete bars of the sessions that the journal has of a symbol; build the newest one here."""
        held = self._journal.symbols().get(symbol)
        sessions = session_calendar().during(held.begin, held.end, _FIVE)[-_SESSIONS:] if held else []
        done: list[ProvisionalBar] = []
        for session in sessions:
            bars = self._journal.load(symbol, Interval(session.begin, session.end))
            if len(bars):
                is_newest = session is sessions[-1]
                aggregator = self._aggregator if is_newest else RealtimeBarAggregator()
                done += aggregator.rebuild(symbol, bars, bars.index[-1].timestamp() if is_newest else inf)
        self._aggregator.late.clear()
        return done
