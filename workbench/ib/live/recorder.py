"""The recorder: live bars into the journal, then into longer bars; what is missing is filled from history.

One thread. Each batch that has come is committed to the journal before anything is built from it, so what others see
here they find there as well. Bars that were missing go into the journal behind the others, and the session's bars are
built anew from it. Every gap ends in one of three ways: it is filled; history, asked when it must know, has no bar
there (`quiet`); or it is reported, with the reason (`unfilled`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import NamedTuple

import pandas as pd

from workbench.errors import AlreadyRecorded, Disconnected, InvalidBars, StoreError, WorkbenchError
from workbench.ib.connection import IBDataManager
from workbench.ib.live.gaps import Gap, Gaps
from workbench.ib.live.subscriber import LAG_S, Ended, RealtimeDataSubscriber
from workbench.ib.plan import plan_requests
from workbench.market.aggregate import RealtimeBarAggregator
from workbench.market.bars import COLUMNS
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.journal import LiveBar, LiveJournal

logger = logging.getLogger(__name__)

_FIVE = TIMEFRAMES["5sec"]
_DRAIN_S = 0.1
_HOLD_S, _HOLD_AGAIN_S = 60.0, 20.0
_FILL_AFTER_S = 10.0
"""How long after its end a gap is asked for: history has its newest bars a moment later."""
_KNOWN_AFTER_S = 120.0
"""How long after its end history must have a gap's bars: what it lacks then was quiet."""
_DELAYED_S = 1200.0
_TRIES = 5
_FILLERS = 4
_RATE_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A gap that could not be filled, and why."""

    symbol: str
    gap: Gap
    reason: str

    def __str__(self) -> str:
        begin, end = (datetime.fromtimestamp(at, UTC) for at in self.gap)
        return f"{self.symbol}: {self.gap.bars} five-second bars from {begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"


class _Answer(NamedTuple):
    """What came of asking history for the gaps of a symbol."""

    symbol: str
    gaps: list[Gap]
    bars: pd.DataFrame | None
    asked: float
    error: Exception | None = None


@dataclass(slots=True)
class _Try:
    """When the gaps of a symbol may be asked for, and how often that has failed."""

    at: float = 0.0
    failures: int = 0
    is_asked: bool = False


@dataclass(slots=True)
class RecorderCounts:
    """What a recorder has done."""

    received: int = 0
    repeated: int = 0
    filled: int = 0
    quiet: int = 0
    unfilled: list[Unfilled] = field(default_factory=list)


class Recorder:
    """Records what a subscriber brings, from `start` until `stop`. `lock` guards the aggregator."""

    def __init__(
        self,
        ib: IBDataManager,
        subscriber: RealtimeDataSubscriber,
        journal: LiveJournal,
        aggregator: RealtimeBarAggregator,
        *,
        holder: str,
    ) -> None:
        self.lock = threading.Lock()
        self.counts = RecorderCounts()
        self.error: BaseException | None = None
        self._ib, self._subscriber, self._journal, self._aggregator = ib, subscriber, journal, aggregator
        self._holder, self._lag_s = holder, LAG_S * ib.config.gateway_speed
        self._gaps = Gaps(session_calendar())
        self._symbols: list[str] = []
        self._held_at = float("-inf")
        self._uncommitted: list[LiveBar] = []
        self._tries: dict[str, _Try] = {}
        self._stale: dict[str, float] = {}
        """Symbols whose bars are to be made anew, and an instant in the session."""
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._fillers = ThreadPoolExecutor(_FILLERS, thread_name_prefix="fill")
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
        self._fillers.shutdown(cancel_futures=True)

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
                self._gaps.forget(symbol)
            for symbol in [symbol for symbol in wanted if symbol not in self._symbols]:
                self._resume(symbol)
            self._symbols = wanted

    def gaps(self) -> dict[str, list[Gap]]:
        """Return the gaps that are open."""
        with self._changing:
            return self._gaps.all()

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
        self._tries[symbol] = _Try()
        newest = self._journal.symbols().get(symbol)
        sessions = session_calendar().during(newest.begin, newest.end, _FIVE) if newest else []
        if not sessions:
            return
        bars = self._journal.load(symbol, Interval(sessions[-1].begin, sessions[-1].end))
        for start in _starts(bars):
            self._gaps.take(symbol, start)
        self._stale[symbol] = sessions[-1].begin.timestamp()

    # From here on all runs on the recorder's thread.

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                goes_on = self._take(self._drain())
                with self._changing:
                    self._pass_time()
                    self._take_answer()
                    self._rebuild_one()
                    self._ask_for_gaps()
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
            for symbol, gaps in self._gaps.all().items():
                for gap in gaps:
                    self._report(symbol, gap, "the recorder has ended; it is filled when recording goes on")
        try:
            self._journal.release(self._holder)
        except StoreError as error:
            logger.warning("%s; its symbols are free in a minute", error)

    def _drain(self) -> list[LiveBar | Ended]:
        """Return what has come, after a short wait when there is nothing."""
        arrivals: list[LiveBar | Ended] = []
        try:
            arrivals.append(self._subscriber.arrivals.get(timeout=_DRAIN_S))
            while True:
                arrivals.append(self._subscriber.arrivals.get_nowait())
        except Empty:
            return arrivals

    def _take(self, arrivals: list[LiveBar | Ended]) -> bool:
        """Record bars; return whether more may come."""
        with self._changing:
            for one in arrivals:
                if isinstance(one, Ended):
                    continue
                if one.symbol not in self._symbols:
                    continue
                if self._gaps.take(one.symbol, one.timestamp):
                    self._uncommitted.append(one)
                else:
                    self.counts.repeated += 1
            self._commit()
        ended = [one for one in arrivals if isinstance(one, Ended)]
        if ended and ended[-1].error is not None:
            self.error = ended[-1].error
        return not ended

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
            for bar in bars:
                self._aggregator.add(*bar)
            self._stale.update({one.symbol: one.timestamp for one in self._aggregator.late})
            self._aggregator.late.clear()

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
        moment = datetime.fromtimestamp(start, UTC)
        session = session_calendar().during(moment, moment + _FIVE.length, _FIVE)[0]
        bars = self._journal.load(symbol, Interval(session.begin, session.end))
        try:
            with self.lock:
                self._aggregator.rebuild(symbol, bars, self._subscriber.now() or start)
        except InvalidBars as error:
            logger.debug("%s", error)  # the end-of-session save builds that session from the journal
        with self.lock:
            self._aggregator.late.clear()

    def _pass_time(self) -> None:
        now = self._subscriber.now()
        if now is None or self._uncommitted:
            return
        late = now - _FILL_AFTER_S - self._lag_s
        self._gaps.pass_time(late)
        with self.lock:
            self._aggregator.advance(now)

    def _ask_for_gaps(self) -> None:
        now = self._subscriber.now()
        if now is None or not self._ib.connected:
            return
        for symbol, gaps in self._gaps.all().items():
            state = self._tries.setdefault(symbol, _Try())
            due = [gap for gap in gaps if gap.end + _FILL_AFTER_S + self._lag_s <= now]
            if due and not state.is_asked and state.at <= now:
                state.is_asked = True
                self._fillers.submit(self._ask, symbol, due, now)

    def _ask(self, symbol: str, gaps: list[Gap], now: float) -> None:
        """Ask history for gaps; on a thread of its own."""
        spans = Coverage(Interval(*(datetime.fromtimestamp(at, UTC) for at in gap)) for gap in gaps)
        try:
            found = [
                self._ib.fetch(symbol, request, what_to_show=self._subscriber.what_to_show)
                for request in plan_requests(spans, _FIVE, session_calendar())
            ]
            bars = pd.concat([frame for frame in found if not frame.empty] or found[:1])
            bars.attrs = {"delayed": any(frame.attrs.get("delayed") for frame in found)}
            self._answers.put(_Answer(symbol, gaps, bars, now))
        except Exception as error:  # noqa: BLE001  the recorder tells it
            self._answers.put(_Answer(symbol, gaps, None, now, error))

    def _take_answer(self) -> None:
        """Take one answer at a time: live bars that come meanwhile must not wait."""
        if self._answers.empty():
            return
        answer = self._answers.get()
        state = self._tries.setdefault(answer.symbol, _Try())
        state.is_asked = False
        if answer.symbol not in self._symbols:
            return
        if answer.bars is None:
            self._failed(answer, state)
        else:
            self._fill(answer, answer.bars, state)

    def _failed(self, answer: _Answer, state: _Try) -> None:
        assert answer.error is not None  # noqa: S101  else there are bars
        if not isinstance(answer.error, WorkbenchError):
            raise answer.error
        if not isinstance(answer.error, Disconnected):
            state.failures += 1
        logger.warning("%d gaps of %s are not filled yet: %s", len(answer.gaps), answer.symbol, answer.error)
        state.at = answer.asked + _KNOWN_AFTER_S
        if state.failures >= _TRIES:
            self._give_up(answer, state, str(answer.error))

    def _give_up(self, answer: _Answer, state: _Try, reason: str) -> None:
        state.failures = 0
        for gap in answer.gaps:
            for left in _within(self._gaps.of(answer.symbol), gap):
                self._report(answer.symbol, left, reason)
                self._gaps.settle(answer.symbol, left)

    def _report(self, symbol: str, gap: Gap, reason: str) -> None:
        unfilled = Unfilled(symbol, gap, reason)
        self.counts.unfilled.append(unfilled)
        logger.warning("not filled: %s (%s)", unfilled, reason)

    def _fill(self, answer: _Answer, bars: pd.DataFrame, state: _Try) -> None:
        """Take bars of history into the gaps; what history lacks when it must know it was quiet."""
        symbol = answer.symbol
        fresh = [bar for bar in _live_bars(symbol, bars) if self._is_missing(symbol, bar.timestamp)]
        state.at = answer.asked + _KNOWN_AFTER_S
        try:
            self._journal.append(fresh)
        except StoreError as error:
            logger.warning("%d bars of %s are fetched again: %s", len(fresh), symbol, error)
            return
        for bar in fresh:
            self._gaps.take(symbol, bar.timestamp)
        self.counts.filled += len(fresh)
        if fresh:
            self._stale[symbol] = fresh[-1].timestamp
        known = answer.asked - (_DELAYED_S if bars.attrs.get("delayed") else _KNOWN_AFTER_S)
        left = [part for gap in answer.gaps for part in _within(self._gaps.of(symbol), gap)]
        if left and bars.empty:
            state.failures += 1
            if state.failures >= _TRIES:
                self._give_up(answer, state, "history has no bars there")
            return
        state.failures = 0
        for gap in left:
            if gap.end <= known:
                self._gaps.settle(symbol, gap)
                self.counts.quiet += gap.bars
                logger.info("history has none of %s", Unfilled(symbol, gap, ""))
        if not left:
            state.at = 0.0

    def _is_missing(self, symbol: str, start: int) -> bool:
        return any(gap.begin <= start < gap.end for gap in self._gaps.of(symbol))

    def _hold_again(self) -> None:
        if time.monotonic() - self._held_at < _HOLD_AGAIN_S:
            return
        try:
            self._hold(self._symbols)
        except AlreadyRecorded as error:  # this process slept for longer than it may
            logger.warning("not recorded here any more: %s", error)
            self._symbols = [symbol for symbol in self._symbols if symbol not in error.symbols]
            for symbol in error.symbols:
                self._gaps.forget(symbol)
            self._subscriber.update_subscriptions(self._symbols)
        except StoreError as error:
            logger.warning("%s", error)


def _within(gaps: Iterable[Gap], span: Gap) -> list[Gap]:
    parts = (Gap(max(gap.begin, span.begin), min(gap.end, span.end)) for gap in gaps)
    return [part for part in parts if part.begin < part.end]


def _starts(bars: pd.DataFrame) -> list[int]:
    assert isinstance(bars.index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    return list(bars.index.as_unit("s").asi8.tolist())


def _live_bars(symbol: str, bars: pd.DataFrame) -> list[LiveBar]:
    columns = (bars[name].to_list() for name in COLUMNS)
    return [LiveBar(symbol, *row) for row in zip(_starts(bars), *columns, strict=True)]
