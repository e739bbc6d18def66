from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from workbench.gateway.contracts import Catalogue, details, hours_text
from workbench.gateway.refusals import Refused
from workbench.gateway.requests import ContractQuery
from workbench.gateway.tape import Instrument

AAPL = Instrument(265598, "AAPL", "STK", "NASDAQ", "APPLE INC", isin="US0378331005")
VIX = Instrument(13455763, "VIX", "IND", "CBOE", "CBOE Volatility Index", stock_type="", time_zone="US/Central")
TWIN_US = Instrument(1, "TWIN", "STK", "NYSE", "TWIN")
TWIN_OTHER = Instrument(2, "TWIN", "STK", "ARCA", "TWIN")
TWIN_CANADA = Instrument(3, "TWIN", "STK", "TSE", "TWIN", currency="CAD", isin="CA7800871021", line="TWIN.TSE")
CATALOGUE = (AAPL, VIX, TWIN_US, TWIN_OTHER, TWIN_CANADA)


def find(**known: object) -> list[Instrument]:
    return Catalogue(CATALOGUE).find(ContractQuery(**known))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York")).timestamp()


def test_a_contract_is_found_by_its_id_alone() -> None:
    assert find(con_id=265598) == [AAPL]
    assert find(con_id=7, symbol="AAPL") == []


def test_a_contract_is_found_by_symbol_with_any_of_the_rest() -> None:
    assert find(symbol="AAPL") == [AAPL]
    assert find(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD") == [AAPL]
    assert find(symbol="AAPL", exchange="ISLAND", primary_exchange="ISLAND") == [AAPL]


@pytest.mark.parametrize(
    "known",
    [
        {"symbol": "AAPL", "sec_type": "IND"},
        {"symbol": "AAPL", "currency": "EUR"},
        {"symbol": "AAPL", "exchange": "LSE"},
        {"symbol": "VIX", "sec_type": "STK"},
        {"symbol": "VIX", "exchange": "SMART"},
        {"symbol": "NOPE"},
        {},
    ],
)
def test_a_contract_that_contradicts_is_not_found(known: dict[str, object]) -> None:
    assert find(**known) == []


def test_the_primary_exchange_chooses_among_several() -> None:
    assert find(symbol="TWIN") == [TWIN_US, TWIN_OTHER, TWIN_CANADA]
    assert find(symbol="TWIN", primary_exchange="ARCA") == [TWIN_OTHER]
    assert find(symbol="AAPL", primary_exchange="NYSE") == [AAPL]  # nothing to choose


def test_the_currency_chooses_among_several_and_brings_its_own_exchanges() -> None:
    assert find(symbol="TWIN", currency="CAD") == [TWIN_CANADA]
    assert find(symbol="TWIN", currency="CAD", exchange="NYSE") == []
    assert details(TWIN_CANADA, "SMART", at("2026-11-20 12:00")).valid_exchanges == "SMART,TSE"


def test_a_security_is_found_by_its_isin() -> None:
    assert Catalogue(CATALOGUE).by_isin("CA7800871021") == [TWIN_CANADA]
    assert Catalogue(CATALOGUE).by_isin("") == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("aapl", [AAPL]),
        ("TW", [TWIN_US, TWIN_OTHER, TWIN_CANADA]),
        ("apple", [AAPL]),
        ("vola", [VIX]),  # a word of its name
        ("pple", []),
        (" ", []),
    ],
)
def test_symbols_are_matched_by_their_begin_or_a_word_of_the_name(pattern: str, found: list[Instrument]) -> None:
    assert Catalogue(CATALOGUE).matching(pattern) == found


def test_no_more_symbols_are_matched_than_ib_tells() -> None:
    many = [Instrument(number, f"A{number:03}", "STK", "NYSE", "MANY") for number in range(1, 40)]

    assert Catalogue(many).matching("A") == many[:16]


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        (ContractQuery(symbol="TWIN", exchange="SMART"), 200, "TWIN is ambiguous"),
        (ContractQuery(symbol="NOPE", exchange="SMART"), 200, "No security definition"),
        (ContractQuery(con_id=265598), 321, "Please enter exchange"),
    ],
)
def test_data_need_one_contract_and_an_exchange(query: ContractQuery, code: int, words: str) -> None:
    with pytest.raises(Refused) as refused:
        Catalogue(CATALOGUE).one(query)

    assert refused.value.notice.code == code
    assert words in refused.value.notice.text


def test_hours_are_of_six_days_with_holidays_and_half_days() -> None:
    assert hours_text(at("2026-11-25 12:00"), "US/Eastern", use_rth=True) == (
        "20261125:0930-20261125:1600;20261126:CLOSED;20261127:0930-20261127:1300;20261128:CLOSED;20261129:CLOSED;"
        "20261130:0930-20261130:1600"
    )


def test_extended_hours_end_early_on_a_half_day() -> None:
    assert hours_text(at("2026-11-27 12:00"), "US/Eastern", use_rth=False).startswith("20261127:0400-20261127:1700;")


def test_hours_are_in_the_contracts_zone_and_begin_with_its_today() -> None:
    assert hours_text(at("2026-11-20 00:30"), "US/Central", use_rth=True).startswith(
        "20261119:0830-20261119:1500;20261120:0830-20261120:1500"
    )


def test_a_stock_and_an_index_are_told_apart() -> None:
    stock, index = details(AAPL, "SMART", at("2026-11-20 12:00")), details(VIX, "", at("2026-11-20 12:00"))

    assert (stock.exchange, stock.primary_exchange, stock.market_name) == ("SMART", "NASDAQ", "NMS")
    assert stock.sec_ids == (("ISIN", "US0378331005"),)
    assert stock.market_rules.count("26") == len(stock.valid_exchanges.split(","))
    assert (index.exchange, index.valid_exchanges, index.sec_ids) == ("CBOE", "CBOE", ())
    assert index.trading_hours == index.liquid_hours
    assert stock.trading_hours.startswith("20261120:0400-20261120:2000;")
    assert stock.liquid_hours.startswith("20261120:0930-20261120:1600;")
