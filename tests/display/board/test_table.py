"""Rows of the table: what is shown, and what is sent of it."""

from __future__ import annotations

from math import inf, nan

from workbench.display.board.market import Stock
from workbench.display.board.readings import Reading
from workbench.display.board.table import Ranked, changes, columns_of, row_of

STOCK = Stock(
    "KO", last=73.684, base=73.4, newest=100, received=717, due=720, readings={"1day": Reading(31.6, 19.4, 1)}
)


def told(stock: Stock, ranked: Ranked, age: float) -> dict[str, object]:
    cells = row_of(stock, ranked, ["1day"], age)
    return dict(zip([column.name for column in columns_of(["1day"])], cells, strict=True))


def test_a_row_has_a_cell_for_each_column() -> None:
    assert told(STOCK, Ranked(2, "long", 21.4, -3.6), 4.0) == {
        "rank": 2, "symbol": "KO", "side": "long", "score": 21, "score_change": -4, "last": 73.68, "change": 0.39,
        "rsi 1day": 32, "k 1day": 19, "turn 1day": 1, "age": 0, "whole": 99,
    }  # fmt: skip


def test_what_is_not_known_is_none() -> None:
    row = told(Stock("KO"), Ranked(), inf)

    assert {name for name, cell in row.items() if cell is None} == {
        "rank", "score", "score_change", "last", "change", "rsi 1day", "k 1day", "age", "whole",
    }  # fmt: skip
    assert told(Stock("KO", last=0.1234, base=nan), Ranked(), 3.0)["last"] == 0.1234


def test_one_missing_bar_keeps_a_session_from_being_whole() -> None:
    stock = Stock("KO", received=4679, due=4680)

    assert told(stock, Ranked(), 0.0)["whole"] == 99


def test_ages_of_data_that_is_as_new_as_can_be_are_not_sent_anew_each_second() -> None:
    rows = [row_of(STOCK, Ranked(), ["1day"], age) for age in (1.0, 4.9, 9.8)]

    assert rows[0] == rows[1] == rows[2]
    assert changes(rows[0], row_of(STOCK, Ranked(), ["1day"], 12.3)) == [10, 12]
