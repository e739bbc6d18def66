"""Live bars in the background: streams, the recorder and the longer bars, behind one object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import pandas as pd

from workbench.errors import Disconnected
from workbench.ib.connection import IBDataManager
from workbench.ib.live.recorder import Recorder
from workbench.ib.live.status import LiveStatus, StreamsStatus
from workbench.ib.live.streams import LAG_S
from workbench.ib.live.subscriber import RealtimeDataSubscriber
from workbench.market.aggregate import RealtimeBarAggregator
from workbench.market.aggregate.live import LEVELS
from workbench.market.names import as_names
from workbench.store.holders import this_process
from workbench.store.journal import LiveJournal

_GRACE_S = 10.0

Seed = Callable[[str, str], pd.DataFrame]
"""Returns the stored bars of a symbol and a timeframe, of earlier sessions only."""


class LiveSession:
    """Live bars of some symbols, recorded in the background; `desk.live`.

        desk.live.start(["AAPL", "MSFT"])
        desk.live.bars("AAPL", "15min", 20)
        desk.live.stop()

    Every five-second bar goes to the journal in the database, where any other process can follow it.
    """

    def __init__(
        self, connect: Callable[[], IBDataManager], journal: Callable[[], LiveJournal], seed: Seed | None = None
    ) -> None:
        self._connect, self._open_journal, self._seed = connect, journal, seed
        self._subscriber: RealtimeDataSubscriber | None = None
        self._recorder: Recorder | None = None
        self._aggregator = RealtimeBarAggregator()
        self._last = LiveStatus(StreamsStatus())

    def __repr__(self) -> str:
        return f"LiveSession({self.status() if self.is_running else 'not running'})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether live bars are recorded here."""
        return self._recorder is not None and self._recorder.is_running

    @property
    def error(self) -> BaseException | None:
        """What has ended the recording; None when nothing did."""
        return self._recorder.error if self._recorder else None

    def start(self, symbols: str | Iterable[str]) -> None:
        """Record these symbols from now on. Raises `AlreadyRecorded` when another recorder has one of them."""
        self.stop()
        ib = self._connect()
        speed = ib.config.gateway_speed
        self._aggregator = RealtimeBarAggregator(grace_s=_GRACE_S + LAG_S * (speed - 1))
        subscriber = RealtimeDataSubscriber(ib)
        recorder = Recorder(ib, subscriber, self._open_journal(), self._aggregator, holder=this_process())
        try:
            recorder.follow(as_names(symbols))
        except BaseException:
            subscriber.close()
            raise
        self._subscriber, self._recorder = subscriber, recorder
        recorder.start()
        subscriber.update_subscriptions(as_names(symbols))
        self._seed_all(as_names(symbols))

    def update(self, watchlist: str | Iterable[str]) -> None:
        """Record these symbols and no others; those that stay are not touched."""
        if self._subscriber is None or self._recorder is None or not self.is_running:
            raise Disconnected("nothing is recorded; call start()") from self.error
        names, before = as_names(watchlist), set(self._subscriber.symbols)
        self._recorder.follow(names)
        self._subscriber.update_subscriptions(names)
        self._seed_all([symbol for symbol in names if symbol not in before])

    def stop(self) -> None:
        """End the streams, and the recording after what has come is committed."""
        subscriber, recorder = self._subscriber, self._recorder
        if subscriber is None or recorder is None:
            return
        subscriber.close()
        recorder.stop()
        self._last = self.status()
        self._subscriber = None

    def bars(self, symbol: str, timeframe: str, count: int | None = None) -> pd.DataFrame:
        """Return the newest `count` bars, oldest first, the forming one last; see `RealtimeBarAggregator.get_bars`."""
        if self._recorder is None:
            return self._aggregator.get_bars(symbol, timeframe, count)
        with self._recorder.lock:
            return self._aggregator.get_bars(symbol, timeframe, count)

    def status(self) -> LiveStatus:
        """Return how recording goes."""
        subscriber, recorder = self._subscriber, self._recorder
        if subscriber is None or recorder is None:
            return self._last
        missing = sum(gap.bars for gaps in recorder.gaps().values() for gap in gaps)
        return LiveStatus(subscriber.status(), recorder.bars_a_second(), missing, recorder.counts)

    def _seed_all(self, symbols: Iterable[str]) -> None:
        """Let bars reach back into earlier sessions, as far as they are stored."""
        if self._seed is None or self._recorder is None:
            return
        for symbol in symbols:
            for timeframe in LEVELS:
                bars = self._seed(symbol, timeframe.name)
                with self._recorder.lock:
                    self._aggregator.seed(symbol, timeframe.name, bars)
