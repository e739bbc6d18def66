"""The fine screen: symbols judged again whenever one of their bars is complete. Pure.

The state is what is known of each symbol at each timeframe; the bars themselves are in memory already, where they are
built, so nothing is read. What a complete bar, an earlier bar made anew, or history that joins has changed is judged
over the same bars and by the same code as the coarse screen: the scores of a moment are the same, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np

from workbench.market.aggregate.ring import WIDTH, Rows
from workbench.market.bars import REQUIRED
from workbench.screening.conditions import SIDES, YES, Side
from workbench.screening.judge import NEVER, Judgement, judge
from workbench.screening.rules import Rule
from workbench.screening.screen import Scores, ScreenResult, rank, score_judged
from workbench.screening.windows import Window, moment_of, newest_bars

Changed = Iterable[tuple[str, str]]
"""Series, by symbol and timeframe."""

RowsOf = Callable[[str, str], Rows]
"""Returns the complete bars of a series: start in epoch seconds, columns, received, expected."""

HEARD = 0.9
"""A bar of which less was heard turns nothing: what is missing is being fetched, and it is judged again."""

_ALWAYS = np.iinfo(np.int64).max
_RECEIVED, _EXPECTED = -2, -1


@dataclass(frozen=True, slots=True)
class Turn:
    """A symbol that turns: a condition of the rule's `alert_on` has begun to hold, and the score is high enough."""

    at: datetime
    symbol: str
    side: Side
    timeframe: str
    condition: str
    score: float

    def __str__(self) -> str:
        return f"{self.symbol} {self.side}: {self.condition} at {self.timeframe}, score {self.score:.0f}"


class LiveScreen:
    """What is known of symbols that are followed live; `take` says what has changed."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.symbols: list[str] = []
        self._numbers: dict[str, int] = {}
        self._judged: dict[str, Judgement] = {}
        self._heard: dict[str, list[bool]] = {name: [] for name in rule.plans}
        self._begun: list[int] = []
        self._now = NEVER

    @property
    def as_of(self) -> datetime | None:
        """When the newest bar was complete; None before the first, and while nobody is followed."""
        return None if self._now == NEVER or not self.symbols else moment_of(self._now)

    def take(self, changed: Changed, rows_of: RowsOf) -> list[Turn]:
        """Judge anew what has changed; return the symbols that turn at their newest bar.

        What a symbol did before it was first seen here is no turn.
        """
        asked = [one for one in dict.fromkeys(changed) if one[1] in self.rule.plans]
        new = [symbol for symbol in dict.fromkeys(symbol for symbol, _ in asked) if symbol not in self._numbers]
        by_timeframe: dict[str, list[str]] = {}
        for symbol, timeframe in dict.fromkeys([*asked, *((one, name) for one in new for name in self.rule.plans)]):
            by_timeframe.setdefault(timeframe, []).append(symbol)
        self._add(new)
        for timeframe, symbols in by_timeframe.items():
            self._judge(timeframe, symbols, rows_of)
        for symbol in new:
            number = self._numbers[symbol]
            self._begun[number] = max(int(one.ends[number]) for one in self._judged.values())
        return self._turns(by_timeframe)

    def keep(self, symbols: Collection[str]) -> None:
        """Forget the symbols that are not among these; one that comes back is new again."""
        rows = [row for row, symbol in enumerate(self.symbols) if symbol in symbols]
        if len(rows) == len(self.symbols):
            return
        self.symbols = [self.symbols[row] for row in rows]
        self._numbers = {symbol: at for at, symbol in enumerate(self.symbols)}
        self._judged = {name: one.of(rows) for name, one in self._judged.items()} if rows else {}
        self._heard = {name: [heard[row] for row in rows] for name, heard in self._heard.items()}
        self._begun = [self._begun[row] for row in rows]

    def result(self, top: int | None = None) -> ScreenResult | None:
        """Return the ranked list as of the newest complete bar; None before the first, and while nobody is followed."""
        return None if self.as_of is None else rank(self.rule, self.symbols, self._judged, self.as_of, top)

    def scores(self) -> Scores | None:
        """Return the scores of `symbols` as of the newest complete bar; None where `result` is."""
        return None if self.as_of is None else score_judged(self.rule, self._judged, self.as_of)

    def _add(self, symbols: Sequence[str]) -> None:
        """Make room for symbols of which nothing is known yet."""
        if not symbols:
            return
        for name, plan in self.rule.plans.items():
            nothing = judge(plan, window_of({symbol: np.empty((0, WIDTH)) for symbol in symbols}, name, self.rule.bars))
            known = self._judged.get(name)
            self._judged[name] = nothing if known is None else _beside(known, nothing)
            self._heard[name] += [False] * len(symbols)
        self._numbers |= {symbol: len(self.symbols) + at for at, symbol in enumerate(symbols)}
        self.symbols += symbols
        self._begun += [NEVER] * len(symbols)

    def _judge(self, timeframe: str, symbols: Sequence[str], rows_of: RowsOf) -> None:
        rows = {symbol: rows_of(symbol, timeframe) for symbol in symbols}
        judged = judge(self.rule.plans[timeframe], window_of(rows, timeframe, self.rule.bars))
        self._judged[timeframe].put([self._numbers[symbol] for symbol in symbols], judged)
        for symbol, bars in rows.items():
            self._heard[timeframe][self._numbers[symbol]] = _is_heard(bars)
        self._now = max(self._now, int(judged.ends.max()))

    def _turns(self, by_timeframe: Mapping[str, Sequence[str]]) -> list[Turn]:
        scores, turns = self.scores(), list[Turn]()
        if scores is None:
            return []
        for timeframe, symbols in by_timeframe.items():
            one = self._judged[timeframe]
            for row, asked in enumerate(self.rule.plans[timeframe].conditions):
                if asked.name in self.rule.alert_on:
                    side = SIDES.index(asked.side)
                    for symbol in symbols:
                        at = self._numbers[symbol]
                        begins = one.states[row, at] == YES and one.since[row, at] == one.ends[at] > self._begun[at]
                        is_high = scores.passes[at] and scores.total[side, at] >= self.rule.alert_score
                        if begins and is_high and scores.fresh[timeframe][at] and self._heard[timeframe][at]:
                            total = float(scores.total[side, at])
                            when = moment_of(one.ends[at])
                            turns.append(Turn(when, symbol, asked.side, timeframe, asked.name, total))
        return turns


def window_of(rows: Mapping[str, Rows], timeframe: str, bars: int) -> Window:
    """Return the window of bars that are kept as numbers."""
    counts = [len(one) for one in rows.values()]
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    whole = np.concatenate(list(rows.values()))
    columns = {name: np.ascontiguousarray(whole[:, at]) for at, name in enumerate(REQUIRED, start=1)}
    stamps = whole[:, 0].astype(np.int64) * 1_000_000
    return newest_bars(Window(timeframe, tuple(rows), bounds, stamps, columns), until=_ALWAYS, bars=bars)


def _is_heard(rows: Rows) -> bool:
    """Whether enough was heard of the newest bar; one of history has no count, NaN, and is whole."""
    return len(rows) > 0 and not rows[-1, _RECEIVED] < HEARD * rows[-1, _EXPECTED]


def _beside(known: Judgement, new: Judgement) -> Judgement:
    parts = {
        one.name: np.concatenate([getattr(known, one.name), getattr(new, one.name)], axis=-1)
        for one in fields(Judgement) if one.name != "values"
    }  # fmt: skip
    values = {name: np.concatenate([column, new.values[name]]) for name, column in known.values.items()}
    return Judgement(**parts, values=values)
