from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.market.contracts import Contract
from workbench.market.universe import Universe, compare, complete, default_universe, format_universe, parse_universe

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
        ("symbol,kind\nAAPL,stock,SMART", "line 2 of the universe: it has 3 cells"),
        ("symbol,kind\n,stock", "line 2 of the universe: '' is no symbol"),
        ("symbol\nAAPL\nSPY\nAAPL", "line 4 of the universe: AAPL is in the universe twice, first in line 2"),
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


def test_every_malformed_line_is_named() -> None:
    text = "symbol,kind,currency\nAAPL,share,USD\nKO,stock,USD\nPEP,stock,dollar\n../x,,\n"

    with pytest.raises(InvalidInput) as caught:
        parse_universe(text)

    assert [part.split(":")[0] for part in str(caught.value).split("; ")] == [
        f"line {line} of the universe" for line in (2, 4, 5)
    ]


def test_very_many_malformed_lines_are_counted() -> None:
    with pytest.raises(InvalidInput, match="and 15 lines more"):
        parse_universe("symbol\n" + "?\n" * 25)


EXCHANGES = st.sampled_from(["SMART", "NASDAQ", "NYSE", "ARCA", "CBOE", "TSE"])
CONTRACTS = st.builds(
    Contract,
    symbol=st.from_regex(r"[A-Z0-9]([A-Z0-9 .\-]{0,8}[A-Z0-9])?", fullmatch=True),
    kind=st.sampled_from(["stock", "etf", "index"]),
    exchange=EXCHANGES,
    primary_exchange=st.just("") | EXCHANGES,
    currency=st.sampled_from(["USD", "CAD"]),
    folder=st.sampled_from(["stocks", "indices"]),
)
UNIVERSES = st.lists(CONTRACTS, max_size=20, unique_by=lambda contract: contract.symbol).map(Universe)


@given(UNIVERSES)
def test_csv_and_back_is_the_same_universe_in_its_order(universe: Universe) -> None:
    again = parse_universe(format_universe(universe))

    assert list(again.items()) == list(universe.items())


@given(UNIVERSES, UNIVERSES)
def test_what_has_changed_leads_from_one_universe_to_the_other(before: Universe, after: Universe) -> None:
    changes = compare(before, after)

    kept = {symbol: before[symbol] for symbol in before if symbol not in changes.removed}
    assert kept | {symbol: after[symbol] for symbol in (*changes.added, *changes.changed)} == dict(after)
    assert bool(changes) == (dict(before) != dict(after))


def test_a_primary_exchange_that_is_left_out_is_the_one_that_is_known_of_the_same_contract() -> None:
    known = Universe([Contract("RY", primary_exchange="NYSE"), Contract("KO", primary_exchange="NYSE")])
    listed = Universe([Contract("RY", currency="CAD"), Contract("KO", folder="indices"), Contract("PEP")])

    assert list(complete(listed, known).values()) == [
        Contract("RY", currency="CAD"),
        Contract("KO", primary_exchange="NYSE", folder="indices"),
        Contract("PEP"),
    ]
