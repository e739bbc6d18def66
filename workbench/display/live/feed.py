"""Brings what the live journal receives to charts. One thread for all of them.

The journal is followed, not a connection: who records may be this kernel, another one, or `workbench live`. Longer bars
are built here from the journal's five-second bars, so that all who follow it see the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from workbench.display.live.chart import LiveChart
from workbench.display.live.journal import JournalBars
from workbench.display.live.series import LiveSeries
from workbench.errors import StoreError
from workbench.indicators.engine import IndicatorEngine
from workbench.market.aggregate import ProvisionalBar
from workbench.store.journal import LiveJournal

logger = logging.getLogger(__name__)

Stored = Callable[[str, str], pd.DataFrame]
"""Returns the stored bars of a symbol and a timeframe, none where there are none."""


class LiveFeed:
    """Live bars of the journal for charts, from the first `open` until `close`.

    Charts are updated as often as the journal is looked at, every `poll_s` seconds, and only when bars have come.
    """

    def __init__(self, journal: LiveJournal, engine: IndicatorEngine, stored: Stored, *, poll_s: float = 0.25) -> None:
        self._journal, self._engine, self._stored, self._poll_s = journal, engine, stored, poll_s
        self._followed: dict[LiveChart, LiveSeries] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._bars: JournalBars | None = None
        self._thread: threading.Thread | None = None

    def open(self, symbol: str, timeframe: str, **choices: object) -> LiveChart:
        """Return a chart of a series that moves with the journal; `choices` are those of `LiveChart`."""
        with self._lock:
            series = self._series(symbol, timeframe, self._begun().open(symbol))
            chart = LiveChart(series.study, symbol=symbol, timeframe=timeframe, live=True, **choices)  # type: ignore[arg-type]
            self._followed[chart] = series
            self._bring_to_charts([symbol])
        return chart

    def turn(self, chart: LiveChart, symbol: str = "", timeframe: str = "") -> None:
        """Let a chart show another series from now on."""
        with self._lock:
            live = self._begun().open(symbol or chart.symbol)
            self._show(chart, symbol or chart.symbol, timeframe or chart.timeframe, live)
            self._bring_to_charts([chart.symbol])

    def turn_all(self, charts: Sequence[LiveChart], symbol: str) -> None:
        """Let charts show another symbol, each at its timeframe; what the journal has is read once for all."""
        with self._lock:
            live = self._begun().open(symbol)
            for chart in charts:
                self._show(chart, symbol, chart.timeframe, live)
            self._bring_to_charts([symbol])

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

    def _begun(self) -> JournalBars:
        """Return the bars that are followed; the thread runs from now on."""
        if self._bars is None or self._thread is None:
            self._bars = JournalBars(self._journal)
            self._thread = threading.Thread(target=self._run, args=(self._bars,), name="live-feed", daemon=True)
            self._thread.start()
        return self._bars

    def _run(self, bars: JournalBars) -> None:
        try:
            while not self._stopping.wait(self._poll_s):
                with self._lock:
                    self._look(bars)
        except Exception as error:
            logger.exception("the charts have stopped")
            self._notice(f"this chart has stopped: {error}; run its cell again")
            self._thread = None

    def _look(self, bars: JournalBars) -> None:
        """Bring what has come; while the journal cannot be read the charts say so."""
        self._followed = {chart: series for chart, series in self._followed.items() if chart.comm is not None}
        try:
            news = bars.read({chart.symbol for chart in self._followed})
            for symbol in news.late:
                self._restart(symbol, bars.open(symbol))
            if news.bars or news.late:
                self._bring_to_charts({bar.symbol for bar in news.bars} | news.late, news.complete)
            self._notice("")
        except StoreError as error:
            self._notice(f"the live journal cannot be read: {error}")

    def _notice(self, text: str) -> None:
        for chart in self._followed:
            chart.notice = text

    def _bring_to_charts(
        self, symbols: Collection[str], complete: Mapping[str, list[ProvisionalBar]] = MappingProxyType({})
    ) -> None:
        """Bring complete bars and the forming ones to the charts of some symbols."""
        for chart, series in self._followed.items():
            if chart.symbol in symbols:
                done = [bar for bar in complete.get(chart.symbol, ()) if bar.timeframe == chart.timeframe]
                chart.update(series.take(done, self._begun().aggregator.forming(chart.symbol, chart.timeframe)))

    def _restart(self, symbol: str, live: Sequence[ProvisionalBar]) -> None:
        """Draw a symbol anew: bars have come that belong to what was complete."""
        for chart in [chart for chart in self._followed if chart.symbol == symbol]:
            self._show(chart, symbol, chart.timeframe, live)

    def _show(self, chart: LiveChart, symbol: str, timeframe: str, live: Sequence[ProvisionalBar]) -> None:
        series = self._series(symbol, timeframe, live)
        chart.show(series.study, symbol=symbol, timeframe=timeframe)
        self._followed[chart] = series

    def _series(self, symbol: str, timeframe: str, live: Sequence[ProvisionalBar]) -> LiveSeries:
        # What the thread would stumble on later raises here, where it is asked for.
        self._begun().aggregator.forming(symbol, timeframe)
        mine = [bar for bar in live if bar.timeframe == timeframe]
        return LiveSeries(self._engine, self._stored(symbol, timeframe), mine)
