"""Conditions as data: what a bar is asked, in words of its own and of the bars before it.

A condition is a statement about one bar: its columns, those of the indicators, and the same of an earlier bar, whose
names end with how many bars earlier: `stoch_k_1` is one bar ago. Whatever looks further than that is an indicator and
belongs into the suite, where its warm-up is known and a law says that it does not look ahead.

    condition("gap", long="open < low_1", short="open > high_1")
    condition("thrust", long=pl.col("close") > pl.col("high_1"), points=20, within=2, timeframes="1day 4hour")

The answer is yes, no, or *not known*: where a value is missing, as in an indicator's warm-up, nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from workbench.errors import InvalidInput
from workbench.indicators.suite import Floats
from workbench.market.names import as_names
from workbench.market.timeframes import parse_timeframe

Side = Literal["long", "short"]
SIDES: tuple[Side, ...] = ("long", "short")

NO, UNKNOWN, YES = 0, 1, 2
"""Answers. *Or* is the greatest of some, *and* the least."""

Answers = npt.NDArray[np.int8]
Statement = str | pl.Expr

_EARLIER = re.compile(r"(.+)_(\d+)")
_USUAL_POINTS = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A named statement, for a rise (`long`) and for a fall (`short`), of which one may be lacking.

    It holds at a bar when the statement is true of one of the newest `within` bars. `points` is its part of the
    score; `timeframes` where it is asked, everywhere if there are none.
    """

    name: str
    long: pl.Expr | None
    short: pl.Expr | None
    points: float = _USUAL_POINTS
    within: int = 1
    timeframes: tuple[str, ...] = ()

    def of(self, side: Side) -> pl.Expr | None:
        """Return the statement of a side."""
        return self.long if side == "long" else self.short

    def is_asked(self, timeframe: str) -> bool:
        """Whether it counts at a timeframe."""
        return not self.timeframes or timeframe in self.timeframes


def condition(
    name: str,
    long: Statement | None = None,
    short: Statement | None = None,
    *,
    points: float = _USUAL_POINTS,
    within: int = 1,
    timeframes: str | Sequence[str] = (),
) -> Condition:
    """Return a condition. Statements are polars expressions, or their SQL as text. Raises `InvalidInput`."""
    if long is None and short is None:
        raise InvalidInput(f'{name}: say what is to be true: long = "close > high_1"')
    if isinstance(within, bool) or not isinstance(within, int) or within < 1:
        raise InvalidInput(f"{name}: within is a whole number of bars, at least 1, not {within!r}")
    if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points < np.inf:
        raise InvalidInput(f"{name}: points are a number from 0 on, not {points!r}")
    where = tuple(str(parse_timeframe(one)) for one in as_names(timeframes))
    up, down = (None if one is None else _statement(name, one) for one in (long, short))
    return Condition(name, up, down, float(points), within, where)


def _statement(name: str, statement: Statement) -> pl.Expr:
    if isinstance(statement, pl.Expr):
        return statement
    if not isinstance(statement, str):
        raise InvalidInput(f'{name}: write a statement such as "close >= 5", not {statement!r}')
    try:
        return pl.sql_expr(statement)
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise InvalidInput(f"{name}: {statement!r} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Earlier:
    """A column, some bars ago."""

    name: str
    column: str
    bars: int


def columns_asked(name: str, statement: pl.Expr, known: Iterable[str]) -> list[Earlier]:
    """Return the columns that a statement names. Raises `InvalidInput`, which suggests the nearest name."""
    columns = list(known)
    found = [_earlier(name, one, columns) for one in dict.fromkeys(statement.meta.root_names())]
    if not found:
        raise InvalidInput(f"{name} names no column of a bar or an indicator")
    return found


def _earlier(name: str, said: str, columns: Sequence[str]) -> Earlier:
    if said in columns:
        return Earlier(said, said, 0)
    match = _EARLIER.fullmatch(said)
    if match and match[1] in columns:
        return Earlier(said, match[1], int(match[2]))
    wanted = match[1] if match else said
    near = get_close_matches(wanted, columns, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InvalidInput(
        f"{name}: neither bars nor indicators have a column {said}{hint} There are {', '.join(columns)}; one bar "
        "earlier is close_1, and a column of your own comes from [indicators]"
    )


def check_statement(name: str, statement: pl.Expr, columns: Sequence[Earlier]) -> None:
    """Refuse what is not true or false of each bar by itself: a shift or a mean would mix bars, even of symbols."""
    random = np.random.default_rng(7)
    probe = pl.DataFrame({one.name: random.normal(0, 1, 64).cumsum() + 50 for one in columns})
    order = random.permutation(64)
    try:
        whole, mixed, first = (
            frame.select(statement.alias("answer"))["answer"] for frame in (probe, probe[order], probe.head(1))
        )
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(f"{name}: {str(error).splitlines()[0]}") from error
    if whole.dtype != pl.Boolean:
        raise InvalidInput(f"{name} gives {whole.dtype}, not true or false; compare it with something")
    is_by_bar = len(whole) == 64 and whole[order].equals(mixed) and whole.head(1).equals(first)
    if not is_by_bar:
        raise InvalidInput(
            f"{name} mixes bars: a statement is about each bar by itself. An earlier bar's value is close_1; for a "
            "mean, an extreme or a count over bars define an indicator in [indicators]"
        )


def answers(statements: Mapping[str, pl.Expr], columns: Mapping[str, Floats]) -> dict[str, Answers]:
    """Return the answer to each statement at each row; the columns are named as the statements name them."""
    if not statements:
        return {}
    frame = pl.DataFrame({name: column.ravel() for name, column in columns.items()}, nan_to_null=True)
    asked = frame.lazy().select(
        pl.when(statement).then(YES).otherwise(pl.when(statement.is_null()).then(UNKNOWN).otherwise(NO))
        .cast(pl.Int8).alias(name)
        for name, statement in statements.items()
    ).collect()  # fmt: skip
    shape = next(iter(columns.values())).shape
    return {name: asked[name].to_numpy().reshape(shape) for name in statements}


def held_within(asked: Answers, bars: int) -> Answers:
    """Return at each bar whether the answer was yes at one of the newest `bars`; `asked` is rows by bars.

    The first `bars - 1` columns serve the others and are not returned.
    """
    width = asked.shape[1] - bars + 1
    windows = [asked[:, first : first + width] for first in range(bars)]
    held: Answers = np.maximum.reduce(windows)
    return held


def parse_condition(name: str, definition: Any, usual: Condition | None) -> Condition:
    """Return a condition as `workbench.toml` defines it: a text, or a table of what is other than usual."""
    if isinstance(definition, str):
        return condition(name, definition)
    if not isinstance(definition, Mapping):
        raise InvalidInput(f'{name}: write a text such as "close > high_1", or a table: {{ long = "…", points = 20 }}')
    keys = ("long", "short", "points", "within", "timeframes")
    for key in definition:
        if key not in keys:
            near = get_close_matches(str(key), keys, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidInput(f"{name}: a condition has no {key}{hint} It has {', '.join(keys)}")
    before = {key: getattr(usual, key) for key in keys} if usual else {}
    return condition(name, **(before | dict(definition)))
