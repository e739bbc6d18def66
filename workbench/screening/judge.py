"""What bars answer: each condition of a rule at the newest bar of each symbol, and since when. Pure.

Symbols are judged together: their indicators one by one by TA-Lib, the statements over all of them in one frame of
their newest bars. Only where a condition has held longer than that is the rest of the window looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.indicators.batch import compute_runs
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
    runs = np.unique(window.bounds).tolist()  # of who has bars: a function of the user's own may refuse to have none
    study = {**window.columns, **compute_runs(plan.suite, window.columns, runs)}
    everyone = np.arange(len(window.symbols))
    recent = _states(plan.questions, window.bounds, study, everyone, _RECENT)
    states = np.array([answer[:, -1] for answer in recent], dtype=np.int8).reshape(len(plan.questions), len(everyone))
    lengths = np.array([_run_length(answer) for answer in recent], dtype=np.int64).reshape(states.shape)
    _look_further(plan.conditions, window, study, lengths)  # they come first; nobody asks since when a gate is open
    counts = np.diff(window.bounds)
    newest = np.maximum(window.bounds[1:] - 1, 0)
    jumped = [window.jumps.get(symbol, NEVER) for symbol in window.symbols]
    return Judgement(
        states,
        _begun(window, states, lengths),
        _where(counts, window.stamps, newest),
        _ends(window, counts, newest),
        np.array(jumped, dtype=np.int64),
        {name: _where(counts, study[name], newest, np.nan) for name in SHOWN if name in study},
    )


def _states(
    questions: Sequence[Question], bounds: Stamps, study: Mapping[str, Floats], rows: Stamps, bars: int
) -> list[Answers]:
    """Return the answers at the newest `bars` bars of some symbols, a row each; before the first: not known."""
    widest = max((one.within for one in questions), default=1)
    wanted = {one.name: one for asked in questions for one in asked.columns}
    tails = {name: _tail(study[one.column], bounds, rows, bars + widest - 1, one.bars) for name, one in wanted.items()}
    asked = answers({str(number): one.statement for number, one in enumerate(questions)}, tails)
    return [
        held_within(asked[str(number)][:, widest - one.within :], one.within) for number, one in enumerate(questions)
    ]


def _tail(column: Floats, bounds: Stamps, rows: Stamps, bars: int, earlier: int) -> Floats:
    """Return the column at the newest `bars` bars, some bars earlier; NaN before a symbol's first bar."""
    at = bounds[1:][rows, None] - bars - earlier + np.arange(bars)
    outside = at < bounds[:-1][rows, None]
    if not len(column):
        return np.full(at.shape, np.nan)
    found: Floats = column[np.maximum(at, 0)]
    if outside.any():
        found[outside] = np.nan
    return found


def _run_length(answer: Answers) -> Stamps:
    """Return over how many of the newest bars the answer was yes."""
    other = answer[:, ::-1] != YES
    lengths: Stamps = np.where(other.any(axis=1), other.argmax(axis=1), answer.shape[1])
    return lengths


def _look_further(questions: Sequence[Question], window: Window, study: Mapping[str, Floats], lengths: Stamps) -> None:
    """Count the runs anew that fill the newest bars, over the whole window."""
    for number, one in enumerate(questions):
        rows = np.flatnonzero(lengths[number] == _RECENT)
        if len(rows):
            longest = int(np.diff(window.bounds)[rows].max())
            lengths[number, rows] = _run_length(_states([one], window.bounds, study, rows, longest)[0])


def _begun(window: Window, states: Answers, lengths: Stamps) -> Stamps:
    """Return the end of the first bar of each run."""
    since = np.full(states.shape, NEVER)
    held = states == YES
    firsts = (window.bounds[1:] - lengths)[held]
    since[held] = ends_of(window.stamps[firsts], window.timeframe)
    return since


def _where(counts: Stamps, column: np.ndarray, rows: Stamps, nothing: float = NEVER) -> np.ndarray:
    if not len(column):
        return np.full(len(counts), nothing, dtype=column.dtype)
    return np.where(counts > 0, column[rows], nothing)


def _ends(window: Window, counts: Stamps, newest: Stamps) -> Stamps:
    ends = np.full(len(counts), NEVER)
    there = counts > 0
    ends[there] = ends_of(window.stamps[newest[there]], window.timeframe)
    return ends
