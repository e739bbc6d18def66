"""The recorder: live bars into the journal, then into longer bars; what is missing is filled from history.

One thread. Each batch that has come is committed to the journal before anything is built from it, so what others see
here they find there as well. Bars that were missing go into the journal behind the others, and the session's bars are
built anew from it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from queue import Empty

from workbench.errors import AlreadyRecorded, InvalidBars, StoreError, UnknownContract
from workbench.ib.connection import IBDataManager
from workbench.ib.live.filling import FILL_AFTER_S, FIVE, Filler, starts_of
from workbench.ib.live.gaps import Gap, Gaps
from workbench.ib.live.liveness import LAG_S
from workbench.ib.live.status import RecorderCounts
from workbench.ib.live.streams import Annulled, Arrival, Ended, Unknown
from workbench.ib.live.subscriber import RealtimeDataSubscriber
from workbench.market.aggregate import ProvisionalBar, RealtimeBarAggregator
from workbench.market.coverage import Interval
from workbench.market.sessions import Session, session_calendar
from workbench.store.holders import Holder
from workbench.store.journal import LiveBar, LiveJournal

logger = logging.getLogger(__name__)

OnBars = Callable[[Collection[tuple[str, str]]], None]
"""Is told of which series, by symbol and timeframe, bars are complete or were made anew; it must not take long."""

OnSession = Callable[[list[str]], None]
"""Is told of symbols whose first bar of a further session has come; it must not take long."""

_DRAIN_S = 0.1
_HOLD_S, _HOLD_AGAIN_S = 60.0, 20.0
_RATE_WINDOW_S = 30.0


class Recorder:
    """Records what a subscriber brings, from `start` until `stop`. `lock` guards the aggregator."""

    def __init__(
        self,
        ib: IBDataManager,
        subscriber: RealtimeDataSubscriber,
        journal: LiveJournal,
        aggregator: RealtimeBarAggregator,
        *,
        holder: Holder,
        on_bars: OnBars = lambda _changed: None,
        on_session: OnSession = lambda _symbols: None,
    ) -> None:
        self.lock = threading.Lock()
        self.counts = RecorderCounts()
        self.error: BaseException | None = None
        self._ib, self._subscriber, self._journal, self._aggregator = ib, subscriber, journal, aggregator
        self._on_bars, self._on_session = on_bars, on_session
        self._holder, self._lag_s = holder, LAG_S * ib.config.gateway_speed
        self._gaps = Gaps(session_calendar())
        self._filler = Filler(ib, subscriber.what_to_show, journal, self._gaps, self.counts, lag_s=self._lag_s)
        self._symbols: list[str] = []
        self._held_at = float("-inf")
        self._uncommitted: list[LiveBar] = []
        self._filled: dict[str, list[int]] = {}
        """The starts of those bars of the newest session that did not come live, in order."""
        self._stale: dict[str, float] = {}
        """Symbols whose bars are to be made anew, and an instant in the session."""
        self._session_ends: dict[str, float] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._changing = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what has come, and end; gaps that are not filled yet are reported."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether it records."""
        return self._thread.is_alive()

    def follow(self, symbols: Iterable[str]) -> None:
        """Record these symbols and no others. Raises `AlreadyRecorded` when another recorder has one of them."""
        with self._changing:
            wanted = list(dict.fromkeys(symbols))
            self._hold(wanted)
            for symbol in [symbol for symbol in self._symbols if symbol not in wanted]:
                self._forget(symbol)
            for symbol in [symbol for symbol in wanted if symbol not in self._symbols]:
                self.counts.unknown.pop(symbol, None)
                self._resume(symbol)
            self._symbols = wanted

    def enter(self, now: float) -> None:
        """Take up the session that trades now, if one does: it is recorded whole, even when it ends in a moment."""
        with self._changing:
            self._gaps.pass_time(now)

    def gaps(self) -> dict[str, list[Gap]]:
        """Return the gaps that are open."""
        with self._changing:
            return self._gaps.all()

    def filled(self, symbol: str) -> list[int]:
        """Return the starts of the five-second bars of the newest session that were filled from history, in order."""
        return self._filled.get(symbol, [])

    def bars_a_second(self) -> float:
        """Return how many bars came lately, a real second."""
        now = time.monotonic()
        recent = [(at, count) for at, count in list(self._recent) if at > now - _RATE_WINDOW_S]
        return sum(count for _, count in recent) / max(1.0, now - recent[0][0]) if recent else 0.0

    def _hold(self, symbols: Collection[str]) -> None:
        now = datetime.now(UTC)
        self._journal.hold(symbols, self._holder, now=now, until=now + timedelta(seconds=_HOLD_S))
        self._held_at = time.monotonic()

    def _resume(self, symbol: str) -> None:
        """Go on where the journal ends in the newest session: what it lacks are gaps."""
        self._gaps.follow(symbol)
        self._filler.follow(symbol)
        newest = self._journal.symbols().get(symbol)
        sessions = session_calendar().during(newest.begin, newest.end, FIVE) if newest else []
        if not sessions:
            return
        bars = self._journal.load(symbol, Interval(sessions[-1].begin, sessions[-1].end))
        for start in starts_of(bars):
            self._gaps.take(symbol, start)
        self._stale[symbol] = sessions[-1].begin.timestamp()

    def _forget(self, symbol: str) -> None:
        self._gaps.forget(symbol)
        self._filler.forget(symbol)
        self._session_ends.pop(symbol, None)

    # From here on all runs on the recorder's thread.

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                goes_on = self._take(self._drain())
                with self._changing:
                    self._pass_time()
                    self._fill()
                    self._rebuild_one()
                    self._hold_again()
                if not goes_on:
                    break
            self._take(self._drain())
        except BaseException as error:
            logger.exception("the recorder has failed; live bars are not recorded any more")
            self.error = error
        finally:
            self._end()

    def _end(self) -> None:
        with self._changing:
            self._filler.close()
        try:
            self._journal.release(self._holder)
        except StoreError as error:
            logger.warning("%s; its symbols are free in a minute", error)

    def _drain(self) -> list[Arrival]:
        """Return what has come, after a short wait when there is nothing."""
        arrivals: list[Arrival] = []
        try:
            arrivals.append(self._subscriber.arrivals.get(timeout=_DRAIN_S))
            while True:
                arrivals.append(self._subscriber.arrivals.get_nowait())
        except Empty:
            return arrivals

    def _take(self, arrivals: list[Arrival]) -> bool:
        """Record bars; return whether more may come."""
        goes_on = True
        with self._changing:
            for one in arrivals:
                match one:
                    case Ended(error):
                        goes_on, self.error = False, error
                    case Annulled(symbol, at):
                        self._doubt(symbol, at)
                    case Unknown(symbol, error) if symbol in self._symbols:
                        goes_on = self._leave_out(symbol, error) and goes_on
                    case LiveBar() if one.symbol in self._symbols:
                        if self._gaps.take(one.symbol, one.timestamp):
                            self._uncommitted.append(one)
                        else:
                            self.counts.repeated += 1
            self._commit()
        return goes_on

    def _leave_out(self, symbol: str, error: UnknownContract) -> bool:
        """Record a symbol no more that IB does not know; return whether there are others."""
        self._symbols = [one for one in self._symbols if one != symbol]
        self._forget(symbol)
        self.counts.unknown[symbol] = str(error)
        self._subscriber.update_subscriptions(self._symbols)
        if self._symbols:
            logger.error("%s is not recorded, the others are: %s", symbol, error)
        else:
            logger.error("%s is not known to IB, and nothing else is recorded: recording ends", symbol)
            self.error = error
        self._held_at = float("-inf")  # it is free for others at once
        return bool(self._symbols)

    def _commit(self) -> None:
        """Commit what is not yet; while the database fails it is kept, and tried again."""
        if not self._uncommitted:
            return
        bars = self._uncommitted
        try:
            self._journal.append(bars)
        except StoreError as error:
            logger.warning("%d live bars wait: %s", len(bars), error)
            return
        self._uncommitted = []
        self.counts.received += len(bars)
        now = time.monotonic()
        self._recent.append((now, len(bars)))
        while self._recent[0][0] < now - _RATE_WINDOW_S:
            self._recent.popleft()
        self._aggregate(bars)

    def _aggregate(self, bars: list[LiveBar]) -> None:
        with self.lock:
            done = self._aggregator.add_all(bars)
            self._stale.update({one.symbol: one.timestamp for one in self._aggregator.late})
            self._aggregator.late.clear()
        self._tell(done)
        self._tell_sessions(bars)

    def _tell_sessions(self, bars: list[LiveBar]) -> None:
        """Tell whose first bar of a further session has come: the one before is history now."""
        first = {bar.symbol: bar for bar in bars if bar.timestamp >= self._session_ends.get(bar.symbol, 0.0)}
        further = [symbol for symbol in first if symbol in self._session_ends]
        for symbol, bar in first.items():
            session = _session_at(bar.timestamp)
            assert session is not None  # noqa: S101  only a session's bars are taken
            self._session_ends[symbol] = session.end.timestamp()
        if further:
            self._on_session(further)

    def _tell(self, done: Iterable[ProvisionalBar]) -> None:
        if changed := {(one.symbol, one.timeframe) for one in done}:
            self._on_bars(changed)

    def _doubt(self, symbol: str, at: float) -> None:
        """Doubt all of the session so far: IB does not say when the annulled trade was."""
        if session := _session_at(at):
            self._filler.doubt(symbol, Gap(int(session.begin.timestamp()), int(at)))

    def _fill(self) -> None:
        """Ask for what is missing, and take one answer."""
        now = self._subscriber.now()
        if now is not None and self._ib.connected:
            self._filler.ask(now)
        if changed := self._filler.take_answer():
            symbol, start = changed
            self._stale[symbol] = start

    def _rebuild_one(self) -> None:
        """Make anew what late bars of one symbol belong to; while the database fails it is tried again."""
        if not self._stale or self._uncommitted:
            return
        symbol, start = next(iter(self._stale.items()))
        try:
            self._rebuild(symbol, start)
        except StoreError as error:
            logger.warning("the bars of %s are not made anew yet: %s", symbol, error)
        else:
            del self._stale[symbol]

    def _rebuild(self, symbol: str, start: float) -> None:
        """Make the bars of the session of `start` anew from the journal, unless a later one has begun."""
        session = _session_at(start)
        assert session is not None  # noqa: S101  only a session's bars are taken
        span = Interval(session.begin, session.end)
        bars, filled = self._journal.load(symbol, span), sorted(self._journal.from_history(symbol, span))
        try:
            with self.lock:
                self._filled[symbol] = filled
                done = self._aggregator.rebuild(symbol, bars, self._subscriber.now() or start)
            self._tell(done)
        except InvalidBars as error:
            logger.debug("%s", error)  # the end-of-session save builds that session from the journal
        with self.lock:
            self._aggregator.late.clear()

    def _pass_time(self) -> None:
        now = self._subscriber.now()
        if now is None or self._uncommitted:
            return
        self._gaps.pass_time(now - FILL_AFTER_S - self._lag_s)
        with self.lock:
            done = self._aggregator.advance(now)
        self._tell(done)

    def _hold_again(self) -> None:
        if time.monotonic() - self._held_at < _HOLD_AGAIN_S:
            return
        try:
            self._hold(self._symbols)
        except AlreadyRecorded as error:  # this process slept for longer than it may
            logger.warning("not recorded here any more: %s", error)
            self._symbols = [symbol for symbol in self._symbols if symbol not in error.symbols]
            for symbol in error.symbols:
                self._forget(symbol)
            self._subscriber.update_subscriptions(self._symbols)
        except StoreError as error:
            logger.warning("%s", error)


def _session_at(moment: float) -> Session | None:
    """Return the session that trades at an instant."""
    when = datetime.fromtimestamp(moment, UTC)
    found = session_calendar().during(when, when + FIVE.length, FIVE)
    return found[0] if found and found[0].begin <= when else None
