"""What is missing is fetched from history: each gap is filled, settled as quiet, or reported with the reason.

History has its newest bars a moment late, and lacks those of five seconds in which nobody traded. So a gap is asked for
soon after its end; what an answer lacks is asked for again when history must know it, and was quiet then.

Bars that are in doubt, for IB annulled a trade, are fetched again at that same time, and history's stand.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import NamedTuple

import pandas as pd

from workbench.errors import Disconnected, StoreError, WorkbenchError
from workbench.ib.connection import IBDataManager
from workbench.ib.live.gaps import Gap, Gaps
from workbench.ib.live.status import RecorderCounts, Unfilled, name_some
from workbench.ib.plan import plan_requests
from workbench.market.bars import COLUMNS
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.journal import LiveBar, LiveJournal

logger = logging.getLogger(__name__)

FIVE = TIMEFRAMES["5sec"]
FILL_AFTER_S = 10.0
"""How long after its end a gap is asked for: history has its newest bars a moment later."""
KNOWN_AFTER_S = 120.0
"""How long after its end history must have a gap's bars: what it lacks then was quiet."""
_DELAYED_S = 1200.0
_TRIES = 5
_FILLERS = 4


class _Answer(NamedTuple):
    """What came of asking history for spans of a symbol: its gaps, and what is in doubt."""

    symbol: str
    gaps: list[Gap]
    doubted: list[Gap]
    bars: pd.DataFrame | None
    asked: float
    error: Exception | None = None


@dataclass(slots=True)
class _Try:
    """What is in doubt of a symbol, when it may be asked for, and how often that has failed."""

    doubted: list[Gap] = field(default_factory=list)
    at: float = 0.0
    failures: int = 0
    is_asked: bool = False
    told: str = ""
    """Why it failed the last time; the same is not told twice."""


class Filler:
    """Fills the gaps of a recorder, on whose thread the methods run; history is asked on threads of its own."""

    def __init__(
        self,
        ib: IBDataManager,
        what_to_show: str,
        journal: LiveJournal,
        gaps: Gaps,
        counts: RecorderCounts,
        *,
        lag_s: float,
    ) -> None:
        self._ib, self._what_to_show, self._journal = ib, what_to_show, journal
        self._gaps, self._counts, self._lag_s = gaps, counts, lag_s
        self._tries: dict[str, _Try] = {}
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._threads = ThreadPoolExecutor(_FILLERS, thread_name_prefix="fill")

    def follow(self, symbol: str) -> None:
        """Begin to fill the gaps of a symbol."""
        self._tries[symbol] = _Try()

    def forget(self, symbol: str) -> None:
        """Fill nothing any more."""
        self._tries.pop(symbol, None)

    def close(self) -> None:
        """Ask nothing any more; what is still missing is reported."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        reason = "the recorder has ended; it is filled when recording goes on"
        left = [Unfilled(symbol, gap, reason) for symbol, gaps in self._gaps.all().items() for gap in gaps]
        self._counts.unfilled += left
        if left:
            symbols, bars = name_some(list(self._gaps.all())), sum(one.gap.bars for one in left)
            logger.warning("not filled: %d gaps of %s, %d five-second bars (%s)", len(left), symbols, bars, reason)

    def doubt(self, symbol: str, gap: Gap) -> None:
        """Fetch bars again that may be wrong."""
        if (state := self._tries.get(symbol)) and gap.begin < gap.end:
            logger.warning("%s: a trade was annulled; its bars of this session are fetched again", symbol)
            state.doubted.append(gap)

    def ask(self, now: float) -> None:
        """Ask history for what is due."""
        for symbol, state in self._tries.items():
            if state.is_asked or state.at > now:
                continue
            due = [gap for gap in self._gaps.of(symbol) if gap.end + FILL_AFTER_S + self._lag_s <= now]
            doubted = [gap for gap in state.doubted if gap.end + KNOWN_AFTER_S + self._lag_s <= now]
            if due or doubted:
                state.is_asked = True
                self._threads.submit(self._ask, symbol, due, doubted, now)

    def take_answer(self) -> tuple[str, float] | None:
        """Take one answer, for live bars must not wait; return the symbol whose bars have changed, and one's start."""
        if self._answers.empty():
            return None
        answer = self._answers.get()
        state = self._tries.get(answer.symbol)
        if state is None:
            return None
        state.is_asked = False
        state.at = answer.asked + KNOWN_AFTER_S
        if answer.bars is None:
            self._failed(answer, state)
            return None
        try:
            changed = [*self._revise(answer, answer.bars, state), *self._fill(answer, answer.bars, state)]
        except StoreError as error:
            logger.warning("bars of %s are fetched again: %s", answer.symbol, error)
            return None
        return (answer.symbol, changed[-1]) if changed else None

    def _ask(self, symbol: str, gaps: list[Gap], doubted: list[Gap], now: float) -> None:
        """Ask history; on a thread of its own."""
        spans = Coverage(_interval(gap) for gap in (*gaps, *doubted))
        try:
            found = [
                self._ib.fetch(symbol, request, what_to_show=self._what_to_show)
                for request in plan_requests(spans, FIVE, session_calendar())
            ]
            bars = pd.concat([frame for frame in found if not frame.empty] or found[:1])
            bars.attrs = {"delayed": any(frame.attrs.get("delayed") for frame in found)}
            self._answers.put(_Answer(symbol, gaps, doubted, bars, now))
        except Exception as error:  # noqa: BLE001  the recorder tells it
            self._answers.put(_Answer(symbol, gaps, doubted, None, now, error))

    def _failed(self, answer: _Answer, state: _Try) -> None:
        assert answer.error is not None  # noqa: S101  else there are bars
        if not isinstance(answer.error, WorkbenchError):
            raise answer.error
        if not isinstance(answer.error, Disconnected):
            state.failures += 1
        if (told := str(answer.error)) != state.told:
            logger.warning("%d gaps of %s are not filled yet: %s", len(answer.gaps), answer.symbol, told)
        state.told = told
        if state.failures >= _TRIES:
            self._give_up(answer, state, str(answer.error))

    def _give_up(self, answer: _Answer, state: _Try, reason: str) -> None:
        state.failures = 0
        for gap in answer.gaps:
            for left in _within(self._gaps.of(answer.symbol), gap):
                self._report(answer.symbol, left, reason)
                self._gaps.settle(answer.symbol, left)
        for gap in answer.doubted:
            self._report(answer.symbol, gap, f"a trade was annulled, and they were not fetched again: {reason}")
            state.doubted.remove(gap)

    def _report(self, symbol: str, gap: Gap, reason: str) -> None:
        unfilled = Unfilled(symbol, gap, reason)
        self._counts.unfilled.append(unfilled)
        logger.warning("not filled: %s (%s)", unfilled, reason)

    def _revise(self, answer: _Answer, bars: pd.DataFrame, state: _Try) -> list[int]:
        """Let history stand where bars are in doubt; return the starts of those that it tells otherwise.

        A bar that history has not, between others that it has, was of nothing but annulled trades.
        """
        if bars.empty:
            return []
        changed: list[int] = []
        for gap in answer.doubted:
            had = self._journal.load(answer.symbol, _interval(gap))
            told = bars[bars.index.isin(had.index)]
            ours = had.loc[told.index]
            same = ((told[list(COLUMNS)] == ours) | (told[list(COLUMNS)].isna() & ours.isna())).all(axis=1)
            reached = (had.index >= bars.index.min()) & (had.index <= bars.index.max())
            gone = starts_of(had[reached & ~had.index.isin(bars.index) & (had["volume"] > 0)])
            self._journal.revise(answer.symbol, live_bars_of(answer.symbol, told[~same]), gone)
            changed += sorted([*starts_of(told[~same]), *gone])
            state.doubted.remove(gap)
        self._counts.revised += len(changed)
        return changed

    def _fill(self, answer: _Answer, bars: pd.DataFrame, state: _Try) -> list[int]:
        """Take bars of history into the gaps, and return their starts; what it lacks when it must know was quiet."""
        symbol = answer.symbol
        fresh = [bar for bar in live_bars_of(symbol, bars) if self._is_missing(symbol, bar.timestamp)]
        self._journal.append(fresh, from_history=True)
        for bar in fresh:
            self._gaps.take(symbol, bar.timestamp)
        self._counts.filled += len(fresh)
        left = [part for gap in answer.gaps for part in _within(self._gaps.of(symbol), gap)]
        if bars.empty and (left or answer.doubted):
            state.failures += 1
            if state.failures >= _TRIES:
                self._give_up(answer, state, "history has no bars there")
            return []
        state.failures, state.told = 0, ""
        known = answer.asked - (_DELAYED_S if bars.attrs.get("delayed") else KNOWN_AFTER_S)
        for gap in left:
            if gap.end <= known:
                self._gaps.settle(symbol, gap)
                self._counts.quiet += gap.bars
                logger.info("history has none of %s", Unfilled(symbol, gap, ""))
        if not left:
            state.at = 0.0
        return [bar.timestamp for bar in fresh]

    def _is_missing(self, symbol: str, start: int) -> bool:
        return any(gap.begin <= start < gap.end for gap in self._gaps.of(symbol))


def _within(gaps: Iterable[Gap], span: Gap) -> list[Gap]:
    parts = (Gap(max(gap.begin, span.begin), min(gap.end, span.end)) for gap in gaps)
    return [part for part in parts if part.begin < part.end]


def _interval(gap: Gap) -> Interval:
    return Interval(*(datetime.fromtimestamp(at, UTC) for at in gap))


def starts_of(bars: pd.DataFrame) -> list[int]:
    """Return the bars' starts in epoch seconds."""
    assert isinstance(bars.index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    return list(bars.index.as_unit("s").asi8.tolist())


def live_bars_of(symbol: str, bars: pd.DataFrame) -> list[LiveBar]:
    """Return a frame of five-second bars as the journal takes them."""
    columns = (bars[name].to_list() for name in COLUMNS)
    return [LiveBar(symbol, *row) for row in zip(starts_of(bars), *columns, strict=True)]
