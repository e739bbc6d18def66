from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.layouts import UNVERSIONED, VERSIONED, MalformedField, parse
from workbench.gateway.requests import (
    CancelHistorical,
    ContractDetailsRequest,
    ContractQuery,
    HeadTimestampRequest,
    HistoricalRequest,
    MarketDataRequest,
    NoAnswer,
    RealTimeBarsRequest,
    StartApi,
)

SPY = ["0", "SPY", "STK", "", "0.0", "", "", "SMART", "ARCA", "USD", "", ""]
SPY_QUERY = ContractQuery(symbol="SPY", sec_type="STK", exchange="SMART", primary_exchange="ARCA", currency="USD")


def test_start_api_tells_the_client_id() -> None:
    assert parse(["71", "2", "7", ""]) == StartApi(7)


def test_contract_details_are_read_with_and_without_the_tails_of_newer_versions() -> None:
    old = parse(["9", "8", "1", *SPY, "0", "", ""])
    new = parse(["9", "8", "1", *SPY, "0", "", "", ""])

    assert old == new == ContractDetailsRequest(1, SPY_QUERY)


def test_a_historical_request_has_the_bar_size_before_the_duration() -> None:
    texts = ["20", "5", *SPY, "0", "20260402 13:30:00 UTC", "1 min", "2 D", "1", "TRADES", "2", "0", ""]

    assert parse(texts) == HistoricalRequest(
        5, SPY_QUERY, False, "20260402 13:30:00 UTC", "1 min", "2 D", True, "TRADES", 2, False
    )


def test_real_time_bars_and_head_timestamps_are_read() -> None:
    assert parse(["50", "3", "6", *SPY, "5", "TRADES", "0", ""]) == RealTimeBarsRequest(
        6, SPY_QUERY, 5, "TRADES", False
    )
    assert parse(["87", "7", *SPY, "0", "1", "TRADES", "2"]) == HeadTimestampRequest(
        7, SPY_QUERY, False, True, "TRADES", 2
    )


def test_empty_and_missing_fields_are_defaults() -> None:
    assert parse(["25", "1"]) == CancelHistorical(0)
    assert parse(["25", "1", ""]) == CancelHistorical(0)
    assert parse(["9", "8", "3", "", "SPY"]) == ContractDetailsRequest(3, ContractQuery(symbol="SPY"))


@pytest.mark.parametrize("strike", ["", "0.0", "0", "1.7976931348623157e308", "Infinity", "nan"])
def test_every_form_of_an_unset_strike_is_read(strike: str) -> None:
    texts = ["9", "8", "1", *SPY[:4], strike, *SPY[5:]]

    assert isinstance(parse(texts), ContractDetailsRequest)


@pytest.mark.parametrize("texts", [["20", "AAPL"], ["x"], ["49.5"], ["9", "8", "1", *SPY[:4], "many"]])
def test_text_where_a_number_belongs_is_malformed(texts: list[str]) -> None:
    with pytest.raises(MalformedField):
        parse(texts)


def test_an_unknown_message_is_none_and_an_unanswered_one_is_known() -> None:
    assert parse(["108", "1"]) is None
    assert parse([]) is None
    assert parse(["105"]) == NoAnswer()


@pytest.mark.parametrize("hedge", [["0"], ["1", "756733", "0.5", "584.2"]])
def test_market_data_are_asked_with_and_without_a_hedge(hedge: list[str]) -> None:
    request = parse(["1", "11", "7", *SPY, *hedge, "233", "1", "0", ""])

    assert isinstance(request, MarketDataRequest)
    assert (request.generic_ticks, request.snapshot, request.regulatory_snapshot) == ("233", True, False)


def test_a_security_is_described_by_its_isin() -> None:
    request = parse(["9", "8", "1", *([""] * 12), "0", "ISIN", "US0378331005", ""])

    assert isinstance(request, ContractDetailsRequest)
    assert (request.sec_id_type, request.sec_id) == ("ISIN", "US0378331005")


@given(
    st.sampled_from(sorted(VERSIONED | UNVERSIONED)),
    st.lists(st.one_of(st.integers().map(str), st.text(max_size=8), st.just("")), max_size=30),
)
def test_no_fields_whatever_break_the_parser(message_id: int, texts: list[str]) -> None:
    try:
        request = parse([str(message_id), *texts])
    except MalformedField:
        return
    assert request is not None
