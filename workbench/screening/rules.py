"""The rule of a screen: conditions, what each counts for, gates, and the timeframes they are asked of.

Momentum reversal, the default. Long (short is the mirror), at one timeframe, on complete bars:

    stretched   close at or under the lower Bollinger band, within the last 3 bars             30 points
    exhausted   StochRSI %K under 20 and RSI under 35, within the last 3 bars                  30 points
    turning     %K crosses above %D, or the MACD histogram rises two bars in a row below zero  40 points

A timeframe's score is the share of the points whose conditions hold, 0 to 100; the total is their weighted mean (1day
.35, 4hour .30, 1hour .20, 15min .15). What is not known (no bars, stale bars, warm-up) counts as not held: its weight
is not given to others, and the result tells it. The trend takes off up to a fifth: half of that when the close is not
above SMA 50 (for a short: below), half when not above SMA 200. Gates let through what can be traded: price, average
turnover in dollars, ATR in percent; a gate that is not known is shut. Trend and gates are asked of daily bars.

%K and %D cross where they part by more than a millionth: at rest, as both at 0, rounding alone sets them apart, and
would hide the very turn that is looked for. A line that stands still has a band of no width and an RSI of 0: it is
neither stretched nor exhausted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import polars as pl

from workbench.errors import InvalidInput
from workbench.indicators.define import check_suite, talib_indicator
from workbench.indicators.suite import SUITE, Indicator
from workbench.market.bars import REQUIRED
from workbench.market.timeframes import parse_timeframe
from workbench.screening.conditions import (
    SIDES,
    Condition,
    Earlier,
    Side,
    Statement,
    check_statement,
    columns_asked,
    condition,
    parse_condition,
)

CONDITIONS: tuple[Condition, ...] = (
    condition(
        "stretched", "close <= bb_lower AND bb_lower < bb_upper", "close >= bb_upper AND bb_lower < bb_upper",
        points=30, within=3,
    ),
    condition(
        "exhausted", "stoch_k < 20 AND rsi < 35 AND bb_lower < bb_upper",
        "stoch_k > 80 AND rsi > 65 AND bb_lower < bb_upper", points=30, within=3,
    ),
    condition(
        "turning",
        "stoch_k_1 <= stoch_d_1 + 1e-6 AND stoch_k > stoch_d + 1e-6"
        " OR macd_hist_2 < macd_hist_1 AND macd_hist_1 < macd_hist AND macd_hist < 0",
        "stoch_k_1 >= stoch_d_1 - 1e-6 AND stoch_k < stoch_d - 1e-6"
        " OR macd_hist_2 > macd_hist_1 AND macd_hist_1 > macd_hist AND macd_hist > 0",
        points=40,
    ),
)  # fmt: skip
TREND: tuple[Condition, ...] = (
    condition("SMA 50", "close > sma_50", "close < sma_50", points=1),
    condition("SMA 200", "close > sma_200", "close < sma_200", points=1),
)
GATES: Mapping[str, str] = {
    "price": "close >= 5",
    "turnover": "turnover_20 >= 10000000",
    "range": "100 * atr / close >= 1",
}
WEIGHTS: Mapping[str, float] = {"1day": 0.35, "4hour": 0.30, "1hour": 0.20, "15min": 0.15}
CONTEXT = "1day"
"""The timeframe of gates and trend."""

TURNOVER: tuple[Indicator, ...] = (
    talib_indicator("turnover", "MULT", inputs="close volume"),
    talib_indicator("turnover_20", "SMA", inputs="turnover", timeperiod=20),
)
"""Dollars traded in a bar, and their mean over 20 bars; beside the suite, for gates."""


@dataclass(frozen=True, slots=True)
class Question:
    """A statement asked of each bar of a timeframe: a condition's one side, of the trend, or a gate."""

    name: str
    side: Side
    statement: pl.Expr
    columns: tuple[Earlier, ...]
    within: int
    points: float

    @property
    def reach(self) -> int:
        """How many bars before the newest it looks at."""
        return max(one.bars for one in self.columns) + self.within - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked at one timeframe, and the indicators that this takes."""

    timeframe: str
    conditions: tuple[Question, ...]
    trend: tuple[Question, ...]
    gates: tuple[Question, ...]
    suite: tuple[Indicator, ...]

    @property
    def questions(self) -> tuple[Question, ...]:
        """All of them, in the order of their answers."""
        return self.conditions + self.trend + self.gates

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of bars and indicators that are looked at."""
        return tuple(dict.fromkeys(one.column for asked in self.questions for one in asked.columns))


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule that has been checked; `make_rule` makes one.

    `bars` is how many of the newest bars of a series it sees, and computes its indicators over. A series whose newest
    bar is older than the last `stale_after` closed sessions counts as not known.
    """

    weights: Mapping[str, float]
    plans: Mapping[str, Plan]
    trend_discount: float
    bars: int
    stale_after: int
    alert_score: float
    alert_on: tuple[str, ...] = field(default=())

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The timeframes that bars are needed of, those of a weight first."""
        return tuple(self.plans)

    @property
    def gate_names(self) -> tuple[str, ...]:
        """The gates, in their order."""
        return tuple(one.name for one in self.plans[CONTEXT].gates)


def make_rule(
    *,
    conditions: Sequence[Condition] = CONDITIONS,
    trend: Sequence[Condition] = TREND,
    gates: Mapping[str, Statement] = GATES,
    weights: Mapping[str, float] = WEIGHTS,
    suite: Sequence[Indicator] = SUITE,
    trend_discount: float = 0.2,
    bars: int = 300,
    stale_after: int = 1,
    alert_score: float = 50.0,
    alert_on: Sequence[str] = ("turning",),
) -> Rule:
    """Return a rule after checking each of its names and statements. Raises `InvalidInput`."""
    _check_names(conditions, alert_on)
    weighed = _checked_weights(weights)
    if not 0 <= trend_discount <= 1:
        raise InvalidInput(f"trend_discount is a share from 0 to 1, not {trend_discount!r}")
    if bars < 2 or stale_after < 1:
        raise InvalidInput("a screen sees at least 2 bars, and bars are stale after 1 session or more")
    full = _with_turnover(suite)
    gated = [condition(name, long=statement) for name, statement in gates.items()]
    plans = {}
    for timeframe in dict.fromkeys([*weighed, CONTEXT]):
        asked = [one for one in conditions if timeframe in weighed and one.is_asked(timeframe) and one.points]
        is_context = timeframe == CONTEXT
        plans[timeframe] = _plan(timeframe, asked, trend if is_context else (), gated if is_context else (), full)
    return Rule(weighed, plans, trend_discount, bars, stale_after, alert_score, tuple(alert_on))


def parse_rule(table: Mapping[str, Any], suite: Sequence[Indicator] = SUITE, **others: Any) -> Rule:
    """Return the rule that `[screen]` of `workbench.toml` defines; `others` overrule it. Raises `InvalidInput`."""
    known = ("conditions", "gates", "weights", "trend_discount", "bars", "stale_after", "alert_score", "alert_on")
    told = dict(table) | {name: value for name, value in others.items() if value is not None}
    for key in told:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidInput(f"a screen has no setting {key}{hint} It has {', '.join(known)}")
        _check_type(key, told[key])
    told["conditions"] = _merged(told.get("conditions", {}))
    gates = dict(GATES) | dict(told.get("gates", {}))
    told["gates"] = {name: statement for name, statement in gates.items() if not _is_off(statement)}
    return make_rule(suite=suite, **told)


def _check_type(key: str, value: object) -> None:
    """Refuse a setting of another kind than it has."""
    kind, words = _KINDS.get(key, ((Mapping, Sequence), "a table, or conditions"))
    if not isinstance(value, kind) or isinstance(value, bool | str):
        raise InvalidInput(f"[screen] {key} is {words}, not {value!r}")


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "gates": ((Mapping,), "a table of statements"),
    "weights": ((Mapping,), "a table of numbers by timeframe"),
    "trend_discount": ((int, float), "a number from 0 to 1"),
    "alert_score": ((int, float), "a number"),
    "bars": ((int,), "a whole number"),
    "stale_after": ((int,), "a whole number"),
    "alert_on": ((list, tuple), "a list of conditions"),
}


def _merged(told: Mapping[str, Any] | Sequence[Condition]) -> tuple[Condition, ...]:
    """Return the usual conditions with what was told of them, then those that are new."""
    if not isinstance(told, Mapping):
        return tuple(told)
    usual = {one.name: one for one in CONDITIONS}
    new = {name: parse_condition(name, one, usual.get(name)) for name, one in told.items() if not _is_off(one)}
    kept = {name: one for name, one in usual.items() if not (name in told and _is_off(told[name]))}
    return tuple((kept | new).values())


def _is_off(definition: object) -> bool:
    return definition is False or definition == ""


def _check_names(conditions: Sequence[Condition], alert_on: Sequence[str]) -> None:
    names = [one.name for one in conditions]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidInput(f"the condition {twice[0]} is there twice; name one of them otherwise")
    for name in alert_on:
        if name not in names and name != "turning":  # the usual one may have been switched off
            near = get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidInput(f"alert_on: there is no condition {name}{hint} There are {', '.join(names)}")


def _checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    wrong = [
        name for name, weight in weights.items() if isinstance(weight, bool) or not isinstance(weight, int | float)
    ]
    told = {str(parse_timeframe(name)): float(weight) for name, weight in weights.items() if name not in wrong}
    if wrong or any(not weight >= 0 for weight in told.values()) or not sum(told.values()) > 0:
        raise InvalidInput(f"weights are numbers from 0 on, of which one is more than 0, not {dict(weights)}")
    return {name: weight for name, weight in told.items() if weight}


def _with_turnover(suite: Sequence[Indicator]) -> tuple[Indicator, ...]:
    made = {name for indicator in suite for name in indicator.outputs}
    return check_suite((*suite, *(one for one in TURNOVER if one.name not in made)), REQUIRED)


def _plan(
    timeframe: str,
    conditions: Sequence[Condition],
    trend: Sequence[Condition],
    gates: Sequence[Condition],
    suite: Sequence[Indicator],
) -> Plan:
    known = [*REQUIRED, *(name for indicator in suite for name in indicator.outputs)]
    plan = Plan(timeframe, _questions(conditions, known), _questions(trend, known), _questions(gates, known), ())
    return replace(plan, suite=_needed(suite, plan.columns))


def _questions(conditions: Sequence[Condition], known: Sequence[str]) -> tuple[Question, ...]:
    asked = []
    for one in conditions:
        for side in SIDES:
            statement = one.of(side)
            if statement is not None:
                columns = tuple(columns_asked(one.name, statement, known))
                check_statement(one.name, statement, columns)
                asked.append(Question(one.name, side, statement, columns, one.within, one.points))
    return tuple(asked)


def _needed(suite: Sequence[Indicator], columns: Sequence[str]) -> tuple[Indicator, ...]:
    """Return the indicators that give these columns, and those that they need, in the order of the suite."""
    wanted, chosen = set(columns), list[Indicator]()
    for indicator in reversed(suite):
        if wanted & set(indicator.outputs):
            chosen.insert(0, indicator)
            wanted |= set(indicator.inputs)
    return tuple(chosen)
