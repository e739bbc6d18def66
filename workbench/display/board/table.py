"""The watchlist table as data: its columns, and the row of a symbol. Pure.

A value that is not known is None: JSON has no NaN. Values are rounded here to what is shown, so that a change nobody
would see is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import floor, inf, isfinite

from workbench.display.board.market import Stock
from workbench.display.board.readings import NOTHING

Value = str | float | int | None
Cells = list[Value]

LIVE_S = 10
"""Data this old or younger are as new as can be: bars take five seconds, and some to arrive."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `kind` says how it is shown; `group` is the timeframe that it belongs to."""

    name: str
    label: str
    kind: str
    title: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Ranked:
    """What the screen says of a symbol. `change` is of the score, since it was listed or first seen here."""

    rank: int | None = None
    side: str = ""
    score: float | None = None
    change: float | None = None


def columns_of(timeframes: Sequence[str]) -> list[Column]:
    """Return the columns for some timeframes."""
    first = [
        Column("rank", "#", "int", "rank by score, among those that the gates let through"),
        Column("symbol", "Symbol", "text", "symbol"),
        Column("side", "Side", "side", "the better side: long, or short"),
        Column(
            "score",
            "Score",
            "score",
            "momentum reversal, 0 to 100, of complete bars; pale without a rank: a gate is shut",
        ),
        Column("score_change", "±", "signed", "change of the score at the newest complete bar"),
        Column("last", "Last", "price", "the newest price"),
        Column("change", "Chg %", "percent", "since the close of the session before"),
    ]
    by_timeframe = [
        column
        for name in timeframes
        for column in (
            Column(f"rsi {name}", "RSI", "rsi", f"RSI 14 of {name} bars, the forming one included", name),
            Column(f"k {name}", "%K", "k", f"StochRSI %K of {name} bars, the forming one included", name),
            Column(f"turn {name}", "MACD", "turn", f"MACD turns at {name}: complete bars, two in a row", name),
        )
    ]
    last = [
        Column("age", "Age", "age", "age of the newest bar, in seconds of the session"),
        Column("whole", "Data", "whole", "how many of the session's five-second bars have come"),
    ]
    return [*first, *by_timeframe, *last]


def row_of(stock: Stock, ranked: Ranked, timeframes: Sequence[str], age: float) -> Cells:
    """Return the cells of a symbol, in the order of the columns."""
    readings = [stock.readings.get(name, NOTHING) for name in timeframes]
    return [
        ranked.rank,
        stock.symbol,
        ranked.side,
        None if ranked.score is None else rounded(ranked.score, 0),
        None if ranked.change is None else rounded(ranked.change, 0),
        rounded(stock.last, 2 if not stock.last < 1 else 4),
        rounded(100 * stock.change, 2),
        *(cell for one in readings for cell in (rounded(one.rsi, 0), rounded(one.stoch_k, 0), one.turn)),
        None if age == inf else 0 if age <= LIVE_S else floor(age),
        floor(100 * min(1.0, stock.received / stock.due)) if stock.due else None,
    ]


def changes(before: Cells, after: Cells) -> list[Value]:
    """Return the cells that differ, as place and value in turn.

    >>> changes([1, "KO", 50.1], [2, "KO", 50.2])
    [0, 2, 2, 50.2]
    """
    return [each for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new for each in (at, new)]


def rounded(value: float, digits: int) -> float | int | None:
    """Return a number as it is shown, or None where there is none.

    >>> rounded(1.239, 2), rounded(57.6, 0), rounded(float("nan"), 2)
    (1.24, 58, None)
    """
    if not isfinite(value):
        return None
    return round(value) if digits == 0 else round(value, digits)


def setup_of(timeframes: Sequence[str]) -> list[Mapping[str, str]]:
    """Return the columns as JSON has them."""
    return [asdict(column) for column in columns_of(timeframes)]
