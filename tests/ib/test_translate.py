"""The border: IB's words for ours, and ours for IB's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from workbench.errors import (
    IBError,
    InvalidInput,
    NoPermission,
    PacingViolation,
    RequestRefused,
    UnknownContract,
    UnknownTimeframe,
)
from workbench.ib.codes import explain
from workbench.ib.dial import source_of
from workbench.ib.translate import (
    BAR_SIZES,
    check_duration,
    format_end,
    is_confirmed_empty,
    parse_bar_size,
    to_error,
    to_ib_contract,
)
from workbench.market.contracts import Contract
from workbench.market.timeframes import TIMEFRAMES
from workbench.market.universe import default_universe

SERVICE = "Historical Market Data Service error message:"


def test_every_timeframe_has_a_bar_size_that_ib_accepts() -> None:
    # As the gateway's own error 321 lists them.
    seconds = {f"{n} secs" for n in (1, 5, 10, 15, 30)}
    minutes = {"1 min"} | {f"{n} mins" for n in (2, 3, 5, 10, 15, 20, 30)}
    longer = {"1 hour", "2 hours", "3 hours", "4 hours", "8 hours", "1 day", "1W", "1M"}

    assert set(BAR_SIZES) == set(TIMEFRAMES)
    assert set(BAR_SIZES.values()) <= seconds | minutes | longer


@pytest.mark.parametrize("name", list(TIMEFRAMES))
def test_bar_sizes_and_timeframes_name_the_same(name: str) -> None:
    assert parse_bar_size(name) is parse_bar_size(BAR_SIZES[name]) is TIMEFRAMES[name]


def test_a_bar_size_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownTimeframe, match="15 minutes"):
        parse_bar_size("15 minutes")


@pytest.mark.parametrize("text", ["", "5", "5D", "0 D", "-1 D", "five D", "5 H", "5 D "])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no duration"):
        check_duration(text)


def test_the_end_of_a_request_is_sent_in_utc() -> None:
    assert format_end(datetime(2026, 11, 20, 21, 0, tzinfo=UTC)) == "20261120-21:00:00"
    assert format_end(None) == ""


def test_contracts_of_each_kind() -> None:
    universe = default_universe()

    async def translated() -> list[object]:
        return [to_ib_contract(universe.contract(symbol)) for symbol in ("VIX", "SPY", "AAPL", "NOT LISTED")]

    vix, spy, aapl, other = asyncio.run(translated())

    assert (vix.secType, vix.symbol, vix.exchange, vix.currency) == ("IND", "VIX", "CBOE", "USD")
    assert (spy.secType, spy.exchange, spy.primaryExchange) == ("STK", "SMART", "ARCA")
    assert (aapl.secType, aapl.exchange, aapl.primaryExchange) == ("STK", "SMART", "NASDAQ")
    assert (other.secType, other.symbol, other.exchange) == ("STK", "NOT LISTED", "SMART")


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (200, "No security definition has been found for the request", UnknownContract),
        (200, "The contract description specified for KWEB is ambiguous.", UnknownContract),
        (162, f"{SERVICE}Historical data request pacing violation", PacingViolation),
        (162, f"{SERVICE}No market data permissions for ISLAND STK", NoPermission),
        (162, f"{SERVICE}invalid step: 1", RequestRefused),
        (322, "Error processing request:Only 50 simultaneous API historical data requests", PacingViolation),
        (354, "Requested market data is not subscribed.", NoPermission),
        (420, "Invalid Real-time Query:Historical data request pacing violation", PacingViolation),
        (10089, "Requested market data requires additional subscription for API.", NoPermission),
        (321, "Error validating request.-'bK' : cause - Please enter exchange", RequestRefused),
    ],
)
def test_each_code_and_text_has_its_error(code: int, text: str, kind: type[IBError]) -> None:
    error = to_error(code, text, request="bars of XYZ")

    assert type(error) is kind
    assert error.code == code
    assert str(error).startswith("bars of XYZ: ")
    row = explain(code, text)
    assert row is not None
    for part in (text.rstrip("."), row.cause, row.next_step):
        assert part in str(error)


def test_an_error_of_an_unknown_code_says_where_to_look() -> None:
    error = to_error(19_999, "Something new.", request="bars of XYZ")

    assert type(error) is RequestRefused
    assert "Something new. The workbench has no explanation of this code. Look for it" in str(error)
    assert str(error).endswith("(IB code 19999)")


def test_only_no_data_is_an_answer() -> None:
    assert is_confirmed_empty(162, f"{SERVICE}HMDS query returned no data: DELL@SMART Trades")
    assert not is_confirmed_empty(162, f"{SERVICE}Historical data request pacing violation")
    assert not is_confirmed_empty(200, "No security definition has been found for the request")


@pytest.mark.parametrize(
    ("account", "source"),
    [
        ("DU1234567", "IB"),
        ("U1234567", "IB"),
        ("SIMULATED-1", "built-in gateway (SIMULATED-1)"),
        ("REPLAY-LEAN", "replay (REPLAY-LEAN)"),
    ],
)
def test_the_account_tells_the_source(account: str, source: str) -> None:
    assert source_of(account) == source


def test_a_contract_without_primary_exchange_leaves_it_open() -> None:
    async def translated() -> object:
        return to_ib_contract(Contract("AAPL"))

    assert asyncio.run(translated()).primaryExchange == ""
