from __future__ import annotations

import pytest

from workbench.errors import InvalidInput
from workbench.market.contracts import Contract
from workbench.market.universe import Universe, default_universe, parse_universe

HEADER = "symbol,kind,exchange,primary_exchange,currency,folder"


def test_a_universe_keeps_the_order_of_its_lines() -> None:
    universe = parse_universe(f"{HEADER}\nSPY,etf,SMART,ARCA,USD,indices\nAAPL,stock,SMART,NASDAQ,USD,stocks\n")

    assert list(universe) == ["SPY", "AAPL"]
    assert universe["SPY"] == Contract("SPY", "etf", "SMART", "ARCA", "USD", "indices")


@pytest.mark.parametrize(
    "text",
    [
        "symbol\nAAPL\n",
        "symbol\r\nAAPL\r\n",
        "\ufeffsymbol\nAAPL",
        "\n\nsymbol\nAAPL".lstrip("\n"),
        "symbol,kind\n\nAAPL,\n,\n  ,  \n",
        ' symbol , kind \n"AAPL" ,stock',
        '"symbol"\n"AAPL"\n',
        "kind,symbol\nstock, AAPL \n",
    ],
)
def test_a_universe_is_read_as_spreadsheets_and_editors_write_it(text: str) -> None:
    assert dict(parse_universe(text)) == {"AAPL": Contract("AAPL")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns are symbol,kind"),
        ("kind\nstock", "columns are symbol,kind"),
        ("symbol,sector\nAAPL,tech", "not symbol,sector"),
        ("symbol,symbol\nAAPL,SPY", "not symbol,symbol"),
        ("symbol\nAAPL\naapl", "line 3 of the universe: 'aapl' is no symbol"),
        ("symbol\n../x", "line 2 of the universe"),
        ("symbol,kind\nAAPL,share", "line 2 of the universe: kind is one of stock, etf, index, not share"),
        ("symbol,folder\nAAPL,../x", "line 2 of the universe: folder is one of stocks, indices"),
        ("symbol,kind\nAAPL,stock,SMART", "line 2 of the universe has 3 cells"),
        ("symbol,kind\n,stock", "line 2 of the universe: '' is no symbol"),
        ("symbol\nAAPL\nSPY\nAAPL", "AAPL is in the universe twice"),
    ],
)
def test_a_malformed_universe_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_universe(text)


def test_a_symbol_that_is_not_listed_is_taken_for_a_stock() -> None:
    assert Universe([]).contract("XYZ") == Contract("XYZ", kind="stock", folder="stocks")


def test_the_universe_of_the_package_has_stocks_etfs_and_an_index() -> None:
    universe = default_universe()

    assert len(universe) >= 50
    assert {contract.kind for contract in universe.values()} == {"stock", "etf", "index"}
    assert [universe[symbol].folder for symbol in ("SPY", "QQQ", "VIX", "AAPL")] == ["indices"] * 3 + ["stocks"]
    assert universe["VIX"].kind == "index"
    assert universe["VIX"].exchange == "CBOE"
