"""Every row of the table of IB's codes, told by a gateway in IB's own words to the real ib_insync and our connection.

A row that ends a request becomes an error with its cause and next step; one that does not end it disturbs nothing: the
bars that come are those of an undisturbed gateway. What the gateway tells about no request is in the log with its next
step.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import pytest

from tests.ib.conftest import at
from workbench.errors import ConnectionFailed, IBError
from workbench.gateway.behaviour import Behaviour
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Fault, Refuse, Tell, When
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.codes import ROWS, Reaction, explain
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig, dial
from workbench.ib.notices import Notices, refusal_of
from workbench.ib.translate import to_error, to_ib_contract


@dataclass(frozen=True, slots=True)
class Wording:
    """A code and its text as IB has it, and which row of the table it must find."""

    code: int
    text: str
    row: str


HMDS = "Historical Market Data Service error message:"
LIVE = "Invalid Real-time Query:"
PACING = "Historical data request pacing violation"
ELSEWHERE = "Trading TWS session is connected from a different IP address"
SUBSCRIPTION = (
    "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog for "
    "more details."
)
UNPERMITTED = f"No market data permissions for NYSE STK. {SUBSCRIPTION}"
PROCESSING, VALIDATING = "Error processing request.-'bX' : cause - ", "Error validating request.-'bK' : cause - "

OF_HISTORY = [
    Wording(100, "Max rate of messages per second has been exceeded.", "too many messages a second"),
    Wording(102, "Duplicate ticker ID.", "duplicate request id"),
    Wording(162, f"{HMDS}{PACING}", "pacing violation"),
    Wording(162, f"{HMDS}HMDS query returned no data: AAPL@SMART Trades", "no data"),
    Wording(162, f"{HMDS}{UNPERMITTED}", "no market data permission"),
    Wording(162, f"{HMDS}{ELSEWHERE}", "logged in elsewhere"),
    Wording(162, f"{HMDS}Request Timed Out", "IB timed out"),
    Wording(162, f"{HMDS}No historical market data for SPX/IND@CBOE MidPoint 60", "no such prices"),
    Wording(162, f"{HMDS}BEST queries are not supported for this contract", "exchange without history"),
    Wording(162, f"{HMDS}invalid step: 1", "invalid bar size and duration"),
    Wording(162, f"{HMDS}Time length exceed max.", "duration too long"),
    Wording(162, f"{HMDS}Something that nobody has seen yet", "history service error"),
    Wording(166, f"{HMDS}HMDS Expired Contract Violation:contract can not expire.", "expired contract"),
    Wording(200, "The contract description specified for KWEB is ambiguous.", "ambiguous contract"),
    Wording(200, "No security definition has been found for the request", "unknown contract"),
    Wording(309, "Max number (3) of market depth requests has been reached", "too many order books"),
    Wording(320, 'Error reading request:Unable to parse data. For input string: "AAPL"', "request cannot be read"),
    Wording(321, f"{VALIDATING}The API interface is currently in Read-Only mode.", "read-only API"),
    Wording(321, f"{VALIDATING}Please enter exchange", "exchange missing"),
    Wording(321, f"{VALIDATING}What to show field is missing or incorrect.", "request not valid"),
    Wording(
        322, "Error processing request:Only 50 simultaneous API historical data requests", "too many requests at once"
    ),
    Wording(322, f"{PROCESSING}Duplicate ticker ID for API historical data query", "duplicate request id"),
    Wording(322, f"{PROCESSING}anything else", "request not processed"),
    Wording(366, "No historical data query found for ticker id:3", "no such history request"),
    Wording(386, "Duplicate ticker ID for API historical data query", "duplicate request id"),
    Wording(430, "The fundamentals data for the security specified is not available", "no fundamentals"),
    Wording(10182, "Failed to request live updates (disconnected).", "updates ended"),
    Wording(10314, "End Date/Time: The date, time, or time-zone entered is invalid.", "end of the request not valid"),
]
OF_LIVE_BARS = [
    Wording(101, "Max number of tickers has been reached.", "no market data line is free"),
    Wording(354, "Requested market data is not subscribed.", "not subscribed"),
    *(
        Wording(code, f"{LIVE}{text}", row)
        for code, other in ((420, "live bars refused"), (10187, "ticks refused"), (10189, "ticks refused"))
        for text, row in (
            (PACING, "pacing violation"),
            (UNPERMITTED, "no market data permission"),
            (ELSEWHERE, "logged in elsewhere"),
            ("Something that nobody has seen yet", other),
        )
    ),
    Wording(10089, SUBSCRIPTION, "API subscription missing"),
    Wording(10091, "Part of requested market data requires additional subscription.", "API subscription missing"),
    Wording(10168, "Requested market data is not subscribed. Delayed data are disabled.", "neither live nor delayed"),
    Wording(10186, "Requested market data is not subscribed. Delayed data are disabled.", "neither live nor delayed"),
    Wording(10197, "No market data during competing live session", "competing session"),
    Wording(
        10225,
        "Bust event occurred, current subscription is deactivated. Please resubscribe real-time bars immediately.",
        "bust",
    ),
]
_LOST = "Connectivity between IBKR and Trader Workstation has been"
TOLD = [
    Wording(162, f"{HMDS}API historical data query cancelled: 28", "query cancelled"),
    Wording(165, "Historical Market Data Service query message:no items retrieved", "history message"),
    Wording(300, "Can't find EId with tickerId:0", "no such request"),
    Wording(501, "Already Connected.", "already connected"),
    Wording(502, "Couldn't connect to TWS.", "cannot connect"),
    Wording(503, "The TWS is out of date and must be upgraded.", "TWS out of date"),
    Wording(504, "Not connected", "not connected"),
    Wording(507, "Bad Message Length", "broken connection"),
    Wording(1101, f"{_LOST} restored - data lost.", "IB is back, data lost"),
    Wording(1102, f"{_LOST} restored - data maintained. All data farms are connected: usfarm; ushmds.", "IB is back"),
    Wording(2103, "Market data farm connection is broken:usfarm", "market data farm lost"),
    Wording(2104, "Market data farm connection is OK:usfarm", "market data farm well"),
    Wording(2106, "HMDS data farm connection is OK:ushmds", "history farm well"),
    Wording(
        2107,
        "HMDS data farm connection is inactive but should be available upon demand.ushmds",
        "history farm asleep",
    ),
    Wording(
        2108,
        "Market data farm connection is inactive but should be available upon demand.usfarm",
        "market data farm asleep",
    ),
    Wording(2119, "Market data farm is connecting:usfarm", "market data farm connecting"),
    Wording(2158, "Sec-def data farm connection is OK:secdefnj", "contract farm well"),
    Wording(
        2174,
        "Warning: You submitted request with date-time attributes without explicit time zone.",
        "time without zone",
    ),
    Wording(2188, "Up-to-the-second data are not entitled; data follow.", "newest part delayed"),
    Wording(10090, "Part of requested market data is not subscribed.", "partly subscribed"),
    Wording(10167, "Requested market data is not subscribed. Displaying delayed market data.", "delayed data"),
]
OUTAGES = [
    (Wording(1100, f"{_LOST} lost.", "IB is lost"), Tell(1102, f"{_LOST} restored - data maintained.")),
    (
        Wording(2105, "HMDS data farm connection is broken:ushmds", "history farm lost"),
        Tell(2106, "HMDS data farm connection is OK:ushmds"),
    ),
    (
        Wording(
            2110,
            "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
            "IB is lost, comes back by itself",
        ),
        Tell(2106, "HMDS data farm connection is OK:ushmds"),
    ),
    (
        Wording(2157, "Sec-def data farm connection is broken:secdefnj", "contract farm lost"),
        Tell(2158, "Sec-def data farm connection is OK:secdefnj"),
    ),
]
WHILE_CONNECTING = [
    Wording(
        326, "Unable to connect as the client id is already in use. Retry with a unique client id.", "client id in use"
    )
]
MOVING = [
    Wording(
        1300,
        "TWS socket port has been reset and this connection is being dropped. Please reconnect on the new port - 7499",
        "port changed",
    )
]
ALL = [*OF_HISTORY, *OF_LIVE_BARS, *TOLD, *(lost for lost, _ in OUTAGES), *WHILE_CONNECTING, *MOVING]


def by_row(wording: object) -> str:
    return f"{wording.code} {wording.row}" if isinstance(wording, Wording) else "back"


@contextmanager
def gateway(*faults: Fault, behaviour: Behaviour | None = None) -> Iterator[GatewayServer]:
    start = at("2026-11-20T17:00:00")
    clock = GatewayClock(start)
    with running(SimulatedTape(1, start=int(start)), clock, faults=faults, behaviour=behaviour) as server:
        yield server


def connected(server: GatewayServer, **changes: object) -> IBDataManager:
    return IBDataManager(IBConnectionConfig(server.host, server.port, paced=False, **changes))  # type: ignore[arg-type]


def bars_of(ib: IBDataManager) -> pd.DataFrame:
    return ib.fetch_historical_bars("AAPL", "15 mins", "2 D")


@pytest.fixture(scope="module")
def undisturbed() -> pd.DataFrame:
    with gateway() as server, connected(server) as ib:
        return bars_of(ib)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that may pass are repeated as always, but soon."""
    monkeypatch.setattr("workbench.ib.asking._PAUSE_S", 0.01)
    monkeypatch.setattr("workbench.ib.pacing.COOL_DOWN_S", 0.05)


def test_every_row_of_the_table_is_told_here() -> None:
    assert {(wording.code, wording.row) for wording in ALL} == {(row.code, row.name) for row in ROWS}


@pytest.mark.parametrize("wording", ALL, ids=by_row)
def test_ibs_wording_finds_its_row(wording: Wording) -> None:
    row = explain(wording.code, wording.text)

    assert row is not None
    assert row.name == wording.row


def check_error(error: IBError, wording: Wording) -> None:
    row = explain(wording.code, wording.text)
    assert row is not None
    assert type(error) is row.error
    assert error.code == wording.code
    for part in (wording.text.rstrip("."), row.cause, row.next_step, f"(IB code {wording.code})"):
        assert part in str(error)


@pytest.mark.parametrize("wording", OF_HISTORY, ids=by_row)
def test_a_request_that_is_refused_again_and_again_ends_in_its_error(wording: Wording) -> None:
    always = Fault(When("reqHistoricalData", times=0), Refuse(code=wording.code, text=wording.text))
    with gateway(always) as server, connected(server) as ib:
        if wording.row == "no data":
            assert bars_of(ib).empty
            return
        with pytest.raises(IBError) as caught:
            bars_of(ib)

    check_error(caught.value, wording)


MAY_PASS = [one for one in OF_HISTORY if (row := explain(one.code, one.text)) and row.error and not row.error.permanent]


@pytest.mark.parametrize("wording", [one for one in MAY_PASS if one.row != "IB timed out"], ids=by_row)
def test_what_may_pass_is_asked_for_again_and_nothing_is_lost(wording: Wording, undisturbed: pd.DataFrame) -> None:
    once = Fault(When("reqHistoricalData"), Refuse(code=wording.code, text=wording.text))
    with gateway(once) as server, connected(server) as ib:
        pd.testing.assert_frame_equal(bars_of(ib), undisturbed)


@pytest.mark.parametrize("wording", OF_LIVE_BARS, ids=by_row)
def test_live_bars_that_are_refused_end_in_their_error(wording: Wording) -> None:
    async def subscribe(ib: object, symbol: str = "AAPL") -> None:
        contract, told = to_ib_contract(manager.universe.contract(symbol)), Notices(ib)  # type: ignore[arg-type]
        ib.reqRealTimeBars(contract, 5, "TRADES", useRTH=True)  # type: ignore[attr-defined]
        _, code, text = await asyncio.wait_for(told.first(refusal_of(contract)), 20)
        raise to_error(code, text, request=f"live bars of {symbol}")

    once = Fault(When("reqRealTimeBars"), Refuse(code=wording.code, text=wording.text))
    with gateway(once) as server, connected(server) as manager, pytest.raises(IBError) as caught:
        manager.use(subscribe)

    check_error(caught.value, wording)


@pytest.mark.parametrize("wording", [*TOLD, *MOVING], ids=by_row)
def test_what_is_told_about_no_request_is_logged_with_its_next_step_and_no_bar_is_lost(
    wording: Wording, undisturbed: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "workbench.ib")
    told = Fault(When("reqHistoricalData"), Tell(wording.code, wording.text))
    with gateway(told) as server, connected(server) as ib:
        bars = bars_of(ib)

    row = explain(wording.code, wording.text)
    assert row is not None
    pd.testing.assert_frame_equal(bars, undisturbed)
    said = [one for one in caplog.records if one.message.startswith(f"IB code {wording.code}: {wording.text[:20]}")][-1]
    assert row.cause in said.message
    assert row.next_step in said.message
    assert (said.levelname == "WARNING") is (row.reaction not in (Reaction.INFORM, Reaction.RESUME))


@pytest.mark.parametrize(("lost", "back"), OUTAGES, ids=by_row)
def test_an_outage_is_logged_once_and_requests_wait_until_it_is_over(
    lost: Wording, back: Tell, undisturbed: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    row = explain(lost.code, lost.text)
    assert row is not None
    with gateway() as server, connected(server) as ib:
        for _ in range(3):
            server.inject(Fault(When(), Tell(lost.code, lost.text)))
        await_true(lambda: bool(ib.health.trouble))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(bars_of, ib)
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            server.inject(Fault(When(), back))
            bars = waiting.result(30)

    said = [one.message for one in caplog.records if one.message.startswith(f"IB code {lost.code}: ")]
    assert len(said) == 1
    assert row.next_step in said[0]
    pd.testing.assert_frame_equal(bars, undisturbed)


def test_a_client_id_in_use_ends_the_connecting_in_its_error() -> None:
    (wording,) = WHILE_CONNECTING
    with gateway() as server, connected(server, client_id=7), pytest.raises(ConnectionFailed) as caught:
        asyncio.run(dial(IBConnectionConfig(server.host, server.port, 7)))

    check_error(caught.value, wording)


def await_true(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert holds()
