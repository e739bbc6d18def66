"""The coarse screen: from judgements at several timeframes to one ranked list, with reasons. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench import html
from workbench.indicators.suite import Floats
from workbench.screening.conditions import NO, SIDES, UNKNOWN, YES, Answers
from workbench.screening.judge import NEVER, Judgement, judge
from workbench.screening.rules import CONTEXT, Question, Rule
from workbench.screening.windows import Window, complete_until, fresh_from, moment_of

WindowsOf = Callable[[str, int, int], Window]
"""Returns the newest bars at a timeframe that start before an instant (in microseconds), so many of each symbol."""

REASON_COLUMNS = ["symbol", "side", "timeframe", "condition", "since"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ScreenResult:
    """What a screen found as of a moment.

    `table` is the ranked list, a row a symbol and side: `rank symbol side score`, the score at each timeframe, `trend`,
    `why` in words, `since` (when the newest of its conditions began), values of the newest daily bar, `lacking`.
    `reasons` has each condition that held: where, and since when: the instant at which the bar was complete that it
    has held from. `shut` names each gate that kept a symbol out, `lacking` what is not known, by symbol and timeframe.
    Nothing of the universe is left out silently: what is not in the table scored nothing or is in `shut`.
    """

    as_of: datetime
    count: int
    table: pd.DataFrame
    reasons: pd.DataFrame
    shut: pd.DataFrame
    lacking: pd.DataFrame

    def __repr__(self) -> str:
        out, unknown = self.shut["symbol"].nunique(), self.lacking["symbol"].nunique()
        return (
            f"{len(self.table)} rows of {self.count} symbols as of {self.as_of:%Y-%m-%d %H:%M} UTC; "
            f"gates keep {out} out, of {unknown} something is not known"
        )

    def _repr_html_(self) -> str:
        scores = {name: str(name).removeprefix("score_") for name in self.table if str(name).startswith("score_")}
        shown = self.table[["rank", "symbol", "side", "score", *scores, "trend", "why", "since"]].rename(columns=scores)
        return html.card(repr(self), html.table(shown, decimals=1), html.note("since: UTC"))

    def to_records(self) -> pd.DataFrame:
        """Return the list as the database keeps it: as_of, symbol, side, score, and by timeframe scores and reasons."""
        lengths = [str(name).removeprefix("score_") for name in self.table if str(name).startswith("score_")]
        told: dict[tuple[str, str], list[dict[str, str]]] = {}
        for symbol, side, timeframe, name, since in self.reasons.itertuples(index=False):
            one = {"timeframe": timeframe, "condition": name, "since": since.isoformat()}
            told.setdefault((symbol, side), []).append(one)
        keys = list(zip(self.table["symbol"], self.table["side"], strict=True))
        by_timeframe = self.table[[f"score_{name}" for name in lengths]].to_numpy().tolist()
        scores = [dict(zip(lengths, row, strict=True)) for row in by_timeframe]
        return pd.DataFrame(
            {"as_of": self.as_of, "symbol": self.table["symbol"], "side": self.table["side"],
             "score": self.table["score"], "scores": scores, "reasons": [told.get(key, []) for key in keys]}
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of some symbols, in a row a side: in total, by timeframe, and what the trend leaves of it."""

    total: Floats
    by_timeframe: Mapping[str, Floats]
    trend: Floats
    passes: npt.NDArray[np.bool_]
    fresh: Mapping[str, npt.NDArray[np.bool_]]


def run_screen(
    rule: Rule, symbols: Sequence[str], windows: WindowsOf, as_of: datetime, top: int | None = None
) -> ScreenResult:
    """Return the ranked list of some symbols as of a moment; `top` rows of it, or all that score."""
    judged = {
        name: judge(plan, windows(name, complete_until(as_of, name), rule.bars)) for name, plan in rule.plans.items()
    }
    return rank(rule, symbols, judged, as_of, top)


def score(rule: Rule, states: Mapping[str, Answers], fresh: Mapping[str, npt.NDArray[np.bool_]]) -> Scores:
    """Return what answers come to: `states` a row a question of the plan; where bars are not `fresh` none counts."""
    whole = sum(rule.weights.values())
    total, parts = np.zeros((2, len(fresh[CONTEXT]))), {}
    for name, weight in rule.weights.items():
        asked = rule.plans[name].conditions
        parts[name] = 100 * _shares(asked, states[name][: len(asked)], fresh[name])
        total += weight / whole * parts[name]
    plan = rule.plans[CONTEXT]
    first, last = len(plan.conditions), len(plan.conditions) + len(plan.trend)
    trend = np.ones_like(total) if not plan.trend else _shares(plan.trend, states[CONTEXT][first:last], fresh[CONTEXT])
    total *= 1 - rule.trend_discount * (1 - trend)
    passes = (states[CONTEXT][last:] == YES).all(axis=0) & (fresh[CONTEXT] | (not plan.gates))
    return Scores(total, parts, trend, passes, fresh)


def score_judged(rule: Rule, judged: Mapping[str, Judgement], as_of: datetime) -> Scores:
    """Return the scores that judgements come to as of a moment; bars that are stale then do not count."""
    limits = {name: max(fresh_from(as_of, name, rule.stale_after), NEVER + 1) for name in judged}
    fresh = {name: one.starts >= limits[name] for name, one in judged.items()}
    return score(rule, {name: one.states for name, one in judged.items()}, fresh)


def _shares(questions: Sequence[Question], states: Answers, fresh: npt.NDArray[np.bool_]) -> Floats:
    """Return which share of the points of each side is held, symbol by symbol."""
    shares = np.zeros((2, len(fresh)))
    for row, side in enumerate(SIDES):
        points = sum(one.points for one in questions if one.side == side)
        for one, state in zip(questions, states, strict=True):
            if one.side == side:
                shares[row] += one.points / points * ((state == YES) & fresh)
    return shares


def rank(
    rule: Rule, symbols: Sequence[str], judged: Mapping[str, Judgement], as_of: datetime, top: int | None = None
) -> ScreenResult:
    """Return the list of what scores and passes the gates, best first; equal ones by name."""
    scores = score_judged(rule, judged, as_of)
    sides, numbers = np.nonzero((scores.total > 0) & scores.passes)
    names = np.array(symbols, dtype=str)[numbers]
    order = np.lexsort((sides, names, -scores.total[sides, numbers]))[:top]
    chosen = list(zip(sides[order].tolist(), numbers[order].tolist(), strict=True))
    lacking = _lacking(rule, symbols, judged, scores)
    reasons = [_reasons(rule, judged, scores, row, number) for row, number in chosen]
    table = _table(rule, symbols, judged, scores, chosen, reasons)
    told = lacking.groupby("symbol")["what"].agg("; ".join) if len(lacking) else pd.Series(dtype=str)
    table["lacking"] = [str(told.get(symbol, "")) for symbol in table["symbol"]]
    rows = [
        (symbols[number], SIDES[row], timeframe, name, since)
        for (row, number), held in zip(chosen, reasons, strict=True) for timeframe, name, since in held
    ]  # fmt: skip
    found = pd.DataFrame(rows, columns=REASON_COLUMNS)
    return ScreenResult(as_of, len(symbols), table, found, _shut(rule, symbols, judged, scores), lacking)


Held = list[tuple[str, str, datetime]]


def _reasons(rule: Rule, judged: Mapping[str, Judgement], scores: Scores, row: int, number: int) -> Held:
    """Return the conditions that hold for a symbol on a side: where, which, since when."""
    held = []
    for name in rule.weights:
        if scores.fresh[name][number]:
            states, since = judged[name].states[:, number].tolist(), judged[name].since[:, number]
            for at, one in enumerate(rule.plans[name].conditions):
                if states[at] == YES and one.side == SIDES[row]:
                    held.append((name, one.name, moment_of(since[at])))
    return held


def _table(
    rule: Rule,
    symbols: Sequence[str],
    judged: Mapping[str, Judgement],
    scores: Scores,
    chosen: Sequence[tuple[int, int]],
    reasons: Sequence[Held],
) -> pd.DataFrame:
    rows, numbers = (np.array([one[at] for one in chosen], dtype=int) for at in (0, 1))
    told: dict[str, object] = {"rank": np.arange(1, len(chosen) + 1)}
    told["symbol"] = [symbols[number] for number in numbers]
    told["side"] = [SIDES[row] for row in rows]
    told["score"] = scores.total[rows, numbers]
    told |= {f"score_{name}": scores.by_timeframe[name][rows, numbers] for name in rule.weights}
    told["trend"] = scores.trend[rows, numbers]
    told["why"] = [_words(held) for held in reasons]
    told["since"] = pd.to_datetime([max(since for *_, since in held) for held in reasons], utc=True).as_unit("us")
    told |= {name: values[numbers] for name, values in judged[CONTEXT].values.items()}
    return pd.DataFrame(told)


def _words(held: Held) -> str:
    """Return reasons for people: `1day: stretched, turning; 15min: turning`."""
    by_timeframe: dict[str, list[str]] = {}
    for timeframe, name, _ in held:
        by_timeframe.setdefault(timeframe, []).append(name)
    return "; ".join(f"{timeframe}: {', '.join(names)}" for timeframe, names in by_timeframe.items())


def _shut(rule: Rule, symbols: Sequence[str], judged: Mapping[str, Judgement], scores: Scores) -> pd.DataFrame:
    """Return each gate that a symbol does not pass, and whether the answer was no or is not known."""
    plan, one = rule.plans[CONTEXT], judged[CONTEXT]
    states = np.where(scores.fresh[CONTEXT], one.states[len(plan.questions) - len(plan.gates) :], UNKNOWN)
    gates, numbers = np.nonzero(states != YES)
    said = np.where(states[gates, numbers] == NO, "no", "not known")
    names = [plan.gates[gate].name for gate in gates.tolist()]
    return pd.DataFrame({"symbol": [symbols[at] for at in numbers.tolist()], "gate": names, "answer": said})


def _lacking(rule: Rule, symbols: Sequence[str], judged: Mapping[str, Judgement], scores: Scores) -> pd.DataFrame:
    """Return what is not known, by symbol and timeframe, in words."""
    found: list[tuple[str, str, str]] = []
    for name, one in judged.items():
        unknown = (one.states == UNKNOWN).any(axis=0) | ~scores.fresh[name] | (one.jumped != NEVER)
        rows = np.flatnonzero(unknown).tolist()
        found += [(symbols[at], name, f"{name}: {_why(rule, name, one, scores, at)}") for at in rows]
    return pd.DataFrame(found, columns=["symbol", "timeframe", "what"])


def _why(rule: Rule, name: str, one: Judgement, scores: Scores, at: int) -> str:
    if one.starts[at] == NEVER:
        return "no bars"
    if not scores.fresh[name][at]:
        return f"stale, the newest bar is of {moment_of(one.starts[at]):%Y-%m-%d}"
    questions = rule.plans[name].questions
    unknown = dict.fromkeys(questions[row].name for row in np.flatnonzero(one.states[:, at] == UNKNOWN).tolist())
    jump = (
        f"the price jumps on {moment_of(one.jumped[at]):%Y-%m-%d}, as after a split" if one.jumped[at] != NEVER else ""
    )
    few = f"too few bars for {', '.join(unknown)}" if unknown else ""
    return "; ".join(part for part in (jump, few) if part)
