"""What bars answer: each condition of a rule at the newest bar of each symbol, and since when. Pure.

Symbols are judged together: their indicators one by one by TA-Lib, the statements over all of them in one frame of
their newest bars. Only where a condition has held longer than that is the rest of the window looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.indicators.batch import compute_newest
from workbench.indicators.suite import Floats
from workbench.screening.conditions import YES, Answers, answers, held_within
from workbench.screening.rules import Plan, Question
from workbench.screening.windows import Stamps, Window, ends_of

NEVER = np.iinfo(np.int64).min
"""No time: there is no bar, or the condition does not hold."""

SHOWN = ("close", "atr", "turnover_20")
"""Values of the newest bar that a result shows, where they were computed."""

_RECENT = 24


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Answers at the newest bar of each symbol: a row a question of the plan, a column a symbol.

    `since` is when the bar was complete from which on a condition has held, as far back as the window reaches; of gates
    and trend only the newest bars are looked at.
    `starts` and `ends` are the newest bar's; `NEVER` where there is none. `jumped` says since when the window begins
    anew, where it does.
    """

    states: Answers
    since: Stamps
    starts: Stamps
    ends: Stamps
    jumped: Stamps
    values: Mapping[str, Floats]

    def of(self, rows: Sequence[int]) -> Judgement:
        """Return what was judged of some of the symbols."""
        values = {name: column[rows] for name, column in self.values.items()}
        starts, ends, jumped = (one[rows] for one in (self.starts, self.ends, self.jumped))
        return Judgement(self.states[:, rows], self.since[:, rows], starts, ends, jumped, values)

    def put(self, rows: Sequence[int], newer: Judgement) -> None:
        """Write what was judged anew of some symbols over what was known of them."""
        self.states[:, rows], self.since[:, rows] = newer.states, newer.since
        self.starts[rows], self.ends[rows], self.jumped[rows] = newer.starts, newer.ends, newer.jumped
        for name, values in newer.values.items():
            self.values[name][rows] = values


def judge(plan: Plan, window: Window) -> Judgement:
    """Return the answers to all questions of a plan at the newest bars of a window."""
    newest = _newest(plan, window, _RECENT)
    recent = _states(plan.questions, newest, _RECENT)
    shape = len(plan.questions), len(window.symbols)
    states = np.array([answer[:, -1] for answer in recent], dtype=np.int8).reshape(shape)
    lengths = np.array([_run_length(answer) for answer in recent], dtype=np.int64).reshape(shape)
    _look_further(plan, window, lengths)
    jumped = [window.jumps.get(symbol, NEVER) for symbol in window.symbols]
    there = np.diff(window.bounds) > 0
    starts, ends = np.full((2, len(there)), NEVER)
    starts[there] = window.stamps[window.bounds[1:][there] - 1]
    ends[there] = ends_of(starts[there], window.timeframe)
    values = {name: newest[name][:, -1].copy() for name in SHOWN if name in newest}
    return Judgement(states, _begun(window, states, lengths), starts, ends, np.array(jumped, dtype=np.int64), values)


def _newest(plan: Plan, window: Window, bars: int) -> dict[str, Floats]:
    """Return what the questions are about at the newest bars, a row a symbol; NaN before a symbol's first bar.

    There are some more bars than `bars`, as many as the questions reach further back.
    """
    earlier = [one for question in plan.questions for one in question.columns]
    depth = bars + _widest(plan.questions) - 1 + max((one.bars for one in earlier), default=0)
    known = {*window.columns, *(name for indicator in plan.suite for name in indicator.outputs)}
    names = dict.fromkeys([*(one.column for one in earlier), *(name for name in SHOWN if name in known)])
    return compute_newest(plan.suite, window.columns, window.bounds.tolist(), names, depth)


def _widest(questions: Sequence[Question]) -> int:
    return max((one.within for one in questions), default=1)


def _states(questions: Sequence[Question], newest: Mapping[str, Floats], bars: int) -> list[Answers]:
    """Return the answers at the newest `bars` bars, a row a symbol; before the first: not known."""
    widest = _widest(questions)
    wanted = {one.name: one for asked in questions for one in asked.columns}
    tails = {name: _ending(newest[one.column], one.bars, bars + widest - 1) for name, one in wanted.items()}
    asked = answers({str(number): one.statement for number, one in enumerate(questions)}, tails)
    return [
        held_within(asked[str(number)][:, widest - one.within :], one.within) for number, one in enumerate(questions)
    ]


def _ending(column: Floats, earlier: int, bars: int) -> Floats:
    """Return the column at `bars` bars, of which the last is so many bars before the newest."""
    last = column.shape[1] - earlier
    return column[:, last - bars : last]


def _run_length(answer: Answers) -> Stamps:
    """Return over how many of the newest bars the answer was yes."""
    other = answer[:, ::-1] != YES
    lengths: Stamps = np.where(other.any(axis=1), other.argmax(axis=1), answer.shape[1])
    return lengths


def _look_further(plan: Plan, window: Window, lengths: Stamps) -> None:
    """Count the runs of conditions anew that fill the newest bars, over the whole window.

    Conditions come first among the questions; nobody asks since when a gate is open.
    """
    filled = lengths[: len(plan.conditions)] == _RECENT
    rows = np.flatnonzero(filled.any(axis=0))
    if not len(rows):
        return
    few = window.some(rows)
    longest = int(np.diff(few.bounds).max())
    asked = _states(plan.conditions, _newest(plan, few, longest), longest)
    for number, answer in enumerate(asked):
        again = filled[number, rows]
        lengths[number, rows[again]] = _run_length(answer[again])


def _begun(window: Window, states: Answers, lengths: Stamps) -> Stamps:
    """Return the end of the first bar of each run."""
    since = np.full(states.shape, NEVER)
    held = states == YES
    firsts = (window.bounds[1:] - lengths)[held]
    since[held] = ends_of(window.stamps[firsts], window.timeframe)
    return since
