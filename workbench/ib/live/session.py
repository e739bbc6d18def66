"""Live bars in the background: streams, the recorder and the longer bars, behind one object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import numpy as np
import pandas as pd

from workbench import html
from workbench.errors import Disconnected
from workbench.ib.connection import IBDataManager
from workbench.ib.live.joining import Joining
from workbench.ib.live.liveness import LAG_S
from workbench.ib.live.past import Past
from workbench.ib.live.recorder import OnBars, Recorder
from workbench.ib.live.status import LiveStatus, StreamsStatus
from workbench.ib.live.subscriber import RealtimeDataSubscriber
from workbench.market.aggregate import RealtimeBarAggregator
from workbench.market.aggregate.levels import STEP_S
from workbench.market.aggregate.ring import Rows
from workbench.market.names import as_names
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe
from workbench.store.holders import this_process
from workbench.store.journal import LiveJournal

_GRACE_S = 10.0


class LiveSession:
    """Live bars of some symbols, recorded in the background; `desk.live`.

        desk.live.start(["AAPL", "MSFT"])
        desk.live.bars("AAPL", "15min", 20)
        desk.live.stop()

    Every five-second bar goes to the journal in the database, where any other process can follow it.
    """

    def __init__(
        self,
        connect: Callable[[], IBDataManager],
        journal: Callable[[], LiveJournal],
        past: Callable[[], Past] | None = None,
        on_bars: OnBars = lambda _changed: None,
    ) -> None:
        self._connect, self._open_journal, self._open_past = connect, journal, past
        self._on_bars = on_bars
        self._joining: Joining | None = None
        self._subscriber: RealtimeDataSubscriber | None = None
        self._recorder: Recorder | None = None
        self._aggregator = RealtimeBarAggregator()
        self._last = LiveStatus(StreamsStatus())

    def __repr__(self) -> str:
        return f"LiveSession({self.status() if self.is_running else 'not running'})"

    def _repr_html_(self) -> str:
        if self.is_running:
            return self.status()._repr_html_()
        why = html.note(f"ended by {self.error!r}", state="bad") if self.error else ""
        steps = html.steps([('desk.live.start(["AAPL", "MSFT"])', "records live bars in the background")])
        return html.card("Live bars are not recorded here", why, steps)

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
        for symbol in as_names(symbols):
            ib.universe.contract(symbol)  # it refuses what is no symbol, before anything is held
        speed = ib.config.gateway_speed
        self._aggregator = RealtimeBarAggregator(grace_s=_GRACE_S + LAG_S * (speed - 1))
        subscriber = RealtimeDataSubscriber(ib)
        journal, mine = self._open_journal(), this_process()
        recorder = Recorder(
            ib, subscriber, journal, self._aggregator, holder=mine, on_bars=self._on_bars, on_session=self._renew
        )
        try:
            recorder.follow(as_names(symbols))
            recorder.enter((now := ib.current_time()).timestamp())
        except BaseException:
            subscriber.close()
            journal.release(mine)
            raise
        self._subscriber, self._recorder = subscriber, recorder
        recorder.start()
        subscriber.update_subscriptions(as_names(symbols))
        if self._open_past is not None:
            self._joining = Joining(self._open_past(), ib, self._seed)
            self._joining.add(as_names(symbols), now)

    def update(self, watchlist: str | Iterable[str]) -> None:
        """Record these symbols and no others; those that stay are not touched."""
        if self._subscriber is None or self._recorder is None or not self.is_running:
            raise Disconnected("nothing is recorded; call start()") from self.error
        names, before = as_names(watchlist), set(self._subscriber.symbols)
        now = self._subscriber.now()
        self._recorder.follow(names)
        if now is None:  # nothing was heard of the gateway yet
            now = self._connect().current_time().timestamp()
        self._recorder.enter(now)
        self._subscriber.update_subscriptions(names)
        if self._joining is not None:
            self._joining.add([symbol for symbol in names if symbol not in before], datetime.fromtimestamp(now, UTC))

    def stop(self) -> None:
        """End the streams, and the recording after what has come is committed."""
        subscriber, recorder = self._subscriber, self._recorder
        if subscriber is None or recorder is None:
            return
        subscriber.close()
        recorder.stop()
        if self._joining is not None:
            self._joining.close()
        self._last = self.status()
        self._subscriber = self._joining = None

    def bars(self, symbol: str, timeframe: str, count: int | None = None) -> pd.DataFrame:
        """Return the newest `count` bars, oldest first, the forming one last; see `RealtimeBarAggregator.get_bars`.

        `filled` marks what was mended: how many of a bar's five-second bars did not come live but were filled from
        history.
        """
        if self._recorder is None:
            return _marked(self._aggregator.get_bars(symbol, timeframe, count), [], timeframe)
        with self._recorder.lock:
            bars, filled = self._aggregator.get_bars(symbol, timeframe, count), self._recorder.filled(symbol)
        return _marked(bars, filled, timeframe)

    @property
    def symbols(self) -> list[str]:
        """What is recorded."""
        return list(self._subscriber.symbols) if self._subscriber else []

    def now(self) -> float | None:
        """Return the gateway's time in epoch seconds; None while nothing is recorded, or before it is known."""
        subscriber = self._subscriber
        return subscriber.now() if subscriber is not None else None

    def complete_rows(self, symbol: str, timeframe: str) -> Rows:
        """Return the complete bars as numbers; see `RealtimeBarAggregator.complete_rows`."""
        if self._recorder is None:
            return self._aggregator.complete_rows(symbol, timeframe)
        with self._recorder.lock:
            return self._aggregator.complete_rows(symbol, timeframe)

    def status(self) -> LiveStatus:
        """Return how recording goes."""
        subscriber, recorder = self._subscriber, self._recorder
        if subscriber is None or recorder is None:
            return self._last
        missing = sum(gap.bars for gaps in recorder.gaps().values() for gap in gaps)
        history = self._joining.status() if self._joining else ""
        return LiveStatus(subscriber.status(), recorder.bars_a_second(), missing, recorder.counts, history)

    def _renew(self, symbols: list[str]) -> None:
        """Let the session that has ended be what history tells of it, or the store if it was saved."""
        if self._joining is not None:
            self._joining.renew(symbols)

    def _seed(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        """Let bars reach back into earlier sessions."""
        assert self._recorder is not None  # noqa: S101  it was there first
        with self._recorder.lock:
            self._aggregator.seed(symbol, timeframe, bars)
        self._on_bars({(symbol, timeframe)})


def _marked(bars: pd.DataFrame, filled: list[int], timeframe: str) -> pd.DataFrame:
    """Return bars with the number of five-second bars in each that were filled; a daily one is that of its date."""
    assert isinstance(bars.index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    starts, day = bars.index.as_unit("s").asi8, TIMEFRAMES["1day"]
    lengths = day.seconds if parse_timeframe(timeframe) is day else STEP_S * bars["expected"].fillna(0).to_numpy()
    return bars.assign(filled=np.searchsorted(filled, starts + lengths) - np.searchsorted(filled, starts))
