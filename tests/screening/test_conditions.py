from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.screening.conditions import NO, UNKNOWN, YES, answers, condition, held_within
from workbench.screening.rules import CONDITIONS, WEIGHTS, make_rule, parse_rule


def asked(statement: str, **columns: list[float]) -> list[int]:
    stated = condition("it", statement).long
    assert stated is not None
    return answers({"it": stated}, {name: np.array(values) for name, values in columns.items()})["it"].tolist()


def test_a_value_that_is_missing_makes_an_answer_unknown_never_yes() -> None:
    """To polars NaN is greater than any number: an indicator's warm-up would count as overbought."""
    assert asked("rsi > 65", rsi=[70, 65, np.nan]) == [YES, NO, UNKNOWN]
    assert asked("rsi < 35 OR close > 9", rsi=[np.nan, np.nan], close=[10, 8]) == [YES, UNKNOWN]
    assert asked("rsi < 35 AND close > 9", rsi=[np.nan, np.nan], close=[10, 8]) == [UNKNOWN, NO]


@given(st.lists(st.sampled_from([NO, UNKNOWN, YES]), min_size=1, max_size=30), st.integers(1, 6))
def test_within_some_bars_is_yes_when_one_was_and_unknown_when_one_may_have_been(told: list[int], bars: int) -> None:
    padded = [UNKNOWN] * (bars - 1) + told

    held = held_within(np.array([padded], dtype=np.int8), bars)[0].tolist()

    for at in range(len(told)):
        recent = padded[at : at + bars]
        assert held[at] == (YES if YES in recent else UNKNOWN if UNKNOWN in recent else NO)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("closee > 1", "did you mean close"),
        ("stoch_q_1 < 20", "did you mean stoch_"),
        ("close >", "cannot be read"),
        ("close + 1", "gives Float64, not true or false"),
        ("1 > 0", "names no column"),
        ("avg(close) > 1", "mixes bars"),
        (pl.col("close") > pl.col("close").shift(1), "mixes bars"),
        (pl.col("close") > pl.col("close").shift(-1), "mixes bars"),
        (pl.col("close") >= pl.col("high").rolling_max(5), "mixes bars"),
    ],
)
def test_a_statement_that_cannot_be_meant_is_refused(statement: str | pl.Expr, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        make_rule(conditions=[*CONDITIONS, condition("mine", statement)])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"wieghts": {}}, "did you mean weights"),
        ({"weights": {"1days": 1}}, "did you mean 1day"),
        ({"weights": {"1day": -1}}, "weights are numbers"),
        ({"weights": {"1day": 0}}, "weights are numbers"),
        ({"conditions": {"stretched": {"withn": 3}}}, "did you mean within"),
        ({"conditions": {"stretched": {"within": 0}}}, "at least 1"),
        ({"conditions": {"new": {"points": 3}}}, "say what is to be true"),
        ({"conditions": {"new": {"long": "close > 1", "points": -3}}}, "points are"),
        ({"conditions": {"new": {"long": "close > 1", "timeframes": ["1hours"]}}}, "did you mean 1hour"),
        ({"conditions": {"new": 3}}, "write a text"),
        ({"gates": {"price": "clos > 3"}}, "did you mean close"),
        ({"alert_on": ["turnin"]}, "did you mean turning"),
        ({"trend_discount": 2}, "from 0 to 1"),
        ({"bars": 1}, "at least 2 bars"),
        ({"bars": "x"}, "a whole number"),
        ({"weights": 3}, "a table of numbers"),
        ({"weights": {"1day": "x"}}, "weights are numbers"),
        ({"gates": {"price": 5}}, "write a statement"),
        ({"gates": "close > 5"}, "a table of statements"),
        ({"conditions": 3}, "a table, or conditions"),
        ({"alert_on": "turning"}, "a list of conditions"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        parse_rule(changes)


def test_settings_change_add_and_switch_off() -> None:
    rule = parse_rule(
        {"conditions": {"stretched": {"within": 5}, "turning": False, "gap": "open < low_1"},
         "gates": {"price": False, "young": "close < 50"}, "weights": {"1day": 3, "1hour": 1}},
        bars=250,
    )  # fmt: skip

    day = rule.plans["1day"]
    assert [(one.name, one.side, one.within) for one in day.conditions] == [
        ("stretched", "long", 5), ("stretched", "short", 5), ("exhausted", "long", 3), ("exhausted", "short", 3),
        ("gap", "long", 1),
    ]  # fmt: skip
    assert [one.name for one in day.gates] == ["turnover", "range", "young"]
    assert (dict(rule.weights), rule.bars) == ({"1day": 3.0, "1hour": 1.0}, 250)
    assert set(rule.plans) == {"1day", "1hour"}


def test_only_indicators_that_are_asked_for_are_computed() -> None:
    rule = make_rule(conditions=[condition("low", "rsi < 30")], trend=(), gates={}, weights={"1hour": 1})

    assert [one.name for one in rule.plans["1hour"].suite] == ["rsi"]
    assert rule.plans["1day"].suite == ()


def test_the_usual_weights_are_the_designs() -> None:
    assert WEIGHTS == {"1day": 0.35, "4hour": 0.30, "1hour": 0.20, "15min": 0.15}
