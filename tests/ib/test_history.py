"""What comes of a historical request: over the real ib_insync, and field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ib.conftest import at
from workbench.errors import (
    IBError,
    NoData,
    NoPermission,
    PacingViolation,
    RequestRefused,
    RequestTimeout,
    Unavailable,
    UnknownContract,
    UnreadableAnswer,
)
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Corrupt, Delay, Drop, Fault, Refuse, Truncate, When
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.history import decode_bars
from workbench.market.bars import COLUMNS, INDEX_DTYPE
from workbench.market.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    import ib_insync

HOUR, DAY = TIMEFRAMES["1hour"], TIMEFRAMES["1day"]
FIRST = 1_795_186_800  # 2026-11-20 15:00 UTC


def fields(*bars: tuple[object, ...], number: int | None = None) -> list[str]:
    """Return the fields of an answer as they come over the wire."""
    head = ["17", "5", "20261119-21:00:00", "20261120-21:00:00", str(len(bars) if number is None else number)]
    return head + [str(value) for bar in bars for value in bar]


def bar(place: int = 0, **changes: object) -> tuple[object, ...]:
    """Return the fields of an hour's bar in the order of the wire."""
    known: dict[str, object] = {"date": FIRST + 3600 * place, "open": 10.0, "high": 12.0, "low": 9.5, "close": 11.0}
    known |= {"volume": 1500, "average": 10.7, "count": 42}
    return tuple((known | changes).values())


# Decoding


prices = st.floats(0.01, 1e6).map(lambda price: round(price, 4))
rows = st.tuples(st.lists(prices, min_size=4, max_size=4).map(sorted), st.integers(0, 10**9), prices, st.integers(0, 9))


@given(given_rows=st.lists(rows, min_size=1, max_size=30))
def test_decoding_gives_back_every_bar_as_it_was_sent(given_rows: list[tuple[list[float], int, float, int]]) -> None:
    sent = [
        (FIRST + 3600 * place, opens, high, low, close, volume, average, count)
        for place, ((low, opens, close, high), volume, average, count) in enumerate(given_rows)
    ]

    bars = decode_bars(fields(*sent), HOUR, what="bars")

    assert [int(stamp.timestamp()) for stamp in bars.index] == [row[0] for row in sent]
    assert bars.to_numpy().tolist() == [list(row[1:]) for row in sent]


def test_bars_have_every_column_and_start_in_utc() -> None:
    bars = decode_bars(fields(bar()), HOUR, what="bars")

    assert list(bars.columns) == list(COLUMNS)
    assert (str(bars.index.dtype), bars.index.name) == (INDEX_DTYPE, "timestamp")
    assert bars.index[0].isoformat() == "2026-11-20T15:00:00+00:00"


def test_a_daily_bar_carries_its_sessions_date() -> None:
    bars = decode_bars(fields(bar(date="20261119"), bar(date="20261120")), DAY, what="bars")

    assert [stamp.isoformat() for stamp in bars.index] == ["2026-11-19T00:00:00+00:00", "2026-11-20T00:00:00+00:00"]


def test_what_ib_marks_as_unknown_is_not_taken_for_a_number() -> None:
    bars = decode_bars(fields(bar(volume=-1, average=-1.0, count=-1), bar(1, average=0.0)), HOUR, what="bars")

    assert bars["volume"].iloc[0] == 0
    assert bars["average"].isna().all()
    assert np.isnan(bars["bar_count"].iloc[0])


BROKEN: dict[str, list[str]] = {
    "fewer bars announced than come": fields(bar(), bar(1), number=1),
    "more bars announced than come": fields(bar(), bar(1), number=3),
    "no number of bars": [*fields()[:4], "", *fields(bar())[5:]],
    "a field too many": [*fields(bar()), "1"],
    "cut short": fields(bar(), bar(1))[:-3],
    "nothing but an id": ["17", "5"],
    "an empty price": fields(bar(open="")),
    "a price that is no number": fields(bar(open="12.x")),
    "a price that is none": fields(bar(close="nan")),
    "an infinite price": fields(bar(high="inf")),
    "a price of zero": fields(bar(low=0)),
    "a high under the close": fields(bar(high=10.5)),
    "a low over the open": fields(bar(low=10.5)),
    "an infinite volume": fields(bar(volume="inf")),
    "a negative volume that is not the mark": fields(bar(volume=-500)),
    "a stamp that is none": fields(bar(date="2026-11-20")),
    "an empty stamp": fields(bar(date="")),
    "a stamp far away": fields(bar(), bar(1, date=10**30)),
    "off the grid": fields(bar(date=FIRST + 7)),
    "the same bar twice": fields(bar(), bar()),
    "not in order": fields(bar(1), bar()),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_nothing_is_taken_from_an_answer_with(broken: list[str]) -> None:
    with pytest.raises(UnreadableAnswer, match=r"^bars of X: IB's answer is broken and nothing of it was used \("):
        decode_bars(broken, HOUR, what="bars of X")


@given(place=st.integers(5, 12), text=st.sampled_from(["", "x", "-5", "nan", "inf", "1e999", "99999999", "0"]))
def test_a_field_that_is_not_what_it_should_be_never_becomes_a_bar_that_breaks_a_rule(place: int, text: str) -> None:
    spoilt = fields(bar(), bar(1), bar(2))
    spoilt[place + 8] = text

    try:
        bars = decode_bars(spoilt, HOUR, what="bars")
    except UnreadableAnswer:
        return

    # What still parses and keeps every rule (a changed average, say) cannot be told from the truth by anyone.
    assert len(bars) == 3
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    assert bars.index.is_monotonic_increasing
    assert (bars["volume"] >= 0).all()


def test_an_answer_without_bars_and_without_a_reason_is_no_answer() -> None:
    with pytest.raises(Unavailable, match="without bars and without a reason"):
        decode_bars(fields(), HOUR, what="bars")


# Over the wire


@pytest.fixture
def gateway() -> Iterator[GatewayServer]:
    start = at("2026-11-20T12:00:00")
    with running(SimulatedTape(1, start=int(start)), GatewayClock(start)) as server:
        yield server


@pytest.fixture
def desk(gateway: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[IBDataManager]:
    monkeypatch.setattr("workbench.ib.asking._PAUSE_S", 0.01)
    monkeypatch.setattr("workbench.ib.pacing.COOL_DOWN_S", 0.01)
    with IBDataManager(IBConnectionConfig(gateway.host, gateway.port, request_timeout_s=0.5, paced=False)) as manager:
        yield manager


def fetch(manager: IBDataManager, symbol: str = "AAPL") -> pd.DataFrame:
    return manager.fetch_historical_bars(symbol, "1 hour", "2 D", end=datetime(2026, 11, 19, 21, tzinfo=UTC))


ANY = When("reqHistoricalData", symbol="AAPL", times=0)
SERVICE = "Historical Market Data Service error message:"

OUTCOMES: list[tuple[int, str, type[IBError], str]] = [
    (200, "No security definition has been found for the request", UnknownContract, "universe list"),
    (200, "The contract description specified for AAPL is ambiguous.", UnknownContract, "--primary-exchange"),
    (162, f"{SERVICE}No market data permissions for ISLAND STK", NoPermission, "Subscribe"),
    (354, "Requested market data is not subscribed.", NoPermission, "Subscribe"),
    (162, f"{SERVICE}Historical data request pacing violation", PacingViolation, "Wait a minute"),
    (322, "Error processing request:Only 50 simultaneous API historical data requests", PacingViolation, "50"),
    (162, f"{SERVICE}Trading TWS session is connected from a different IP address", Unavailable, "Log out there"),
    (162, f"{SERVICE}Request Timed Out", RequestTimeout, "later"),
    (162, f"{SERVICE}something new", Unavailable, "Repeat it once"),
    (366, "No historical data query found for ticker id:3", Unavailable, "request the bars again"),
    (321, "Error validating request.-'bK' : cause - Please enter exchange", RequestRefused, "SMART"),
    (777, "a code that nobody has seen", RequestRefused, "no explanation of this code"),
]


@pytest.mark.parametrize(("code", "text", "kind", "says"), OUTCOMES, ids=[f"{it[0]} {it[1][-30:]}" for it in OUTCOMES])
def test_each_refusal_is_told_for_what_it_is(
    gateway: GatewayServer, desk: IBDataManager, code: int, text: str, kind: type[IBError], says: str
) -> None:
    gateway.inject(Fault(ANY, Refuse(code=code, text=text)))

    with pytest.raises(kind, match=says) as caught:
        fetch(desk)

    assert type(caught.value) is kind
    assert caught.value.code == code
    assert text.rstrip(".") in str(caught.value)
    assert len(fetch(desk, "MSFT")) == 14


def test_confirmed_empty_is_a_frame_without_bars(gateway: GatewayServer, desk: IBDataManager) -> None:
    gateway.inject(Fault(ANY, Refuse("no-data")))

    bars = fetch(desk)

    assert bars.empty
    assert list(bars.columns) == list(COLUMNS)
    assert bars.attrs == {"source": desk.source, "delayed": False}


def test_a_head_timestamp_that_ib_does_not_have_is_no_data(gateway: GatewayServer, desk: IBDataManager) -> None:
    gateway.inject(Fault(When("reqHeadTimeStamp"), Refuse("no-data")))

    with pytest.raises(NoData, match="head timestamp of AAPL"):
        desk.fetch_head_timestamp("AAPL")


@pytest.mark.parametrize("action", [Corrupt(2, "soon"), Truncate(keep=0.4)], ids=["no instant", "cut short"])
def test_a_head_timestamp_that_cannot_be_read_is_asked_for_again(
    gateway: GatewayServer, desk: IBDataManager, action: Corrupt | Truncate
) -> None:
    whole = desk.fetch_head_timestamp("AAPL")

    gateway.inject(Fault(When("headTimestamp"), action))

    assert desk.fetch_head_timestamp("AAPL", "MIDPOINT") == whole


UNREADABLE: dict[str, Corrupt | Truncate] = {
    "an empty price": Corrupt(6),
    "a price that is no number": Corrupt(7, "12.x"),
    "a high under its low": Corrupt(7, "0.01"),
    "fewer bars announced than come": Corrupt(4, "8"),
    "more bars announced than come": Corrupt(4, "15"),
    "cut short": Truncate(keep=0.7),
    "a stamp that is no bar's": Corrupt(13, "1795190401"),
}


@pytest.mark.parametrize("action", UNREADABLE.values(), ids=UNREADABLE)
def test_a_broken_answer_is_refused_and_fetched_again(
    gateway: GatewayServer, desk: IBDataManager, action: Corrupt | Truncate
) -> None:
    """ib_insync would hang for its time-out on some, and believe the others."""
    whole = fetch(desk)
    gateway.inject(Fault(When("historicalData"), action))

    pd.testing.assert_frame_equal(fetch(desk), whole, check_exact=True)


def test_an_answer_that_stays_broken_is_told_without_waiting_for_a_time_out(gateway: GatewayServer) -> None:
    gateway.inject(Fault(When("historicalData", times=0), Corrupt(6)))

    with (
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port, request_timeout_s=3600)) as desk,
        pytest.raises(UnreadableAnswer, match="TRADES 1hour bars of AAPL: IB's answer is broken"),
    ):
        fetch(desk)


@pytest.mark.parametrize("action", [Drop(), Delay(1e6)], ids=["a lost answer", "one that is late"])
def test_a_time_out_is_told_as_such_and_the_request_cancelled(
    gateway: GatewayServer, desk: IBDataManager, action: Drop | Delay
) -> None:
    gateway.inject(Fault(When("historicalData"), action))

    cancelled = spied(desk, "cancelHistoricalData")

    with pytest.raises(RequestTimeout, match=r"TRADES 1hour bars of AAPL: no answer within 0\.5 s"):
        fetch(desk)

    assert len(cancelled) == 1
    assert len(fetch(desk)) == 14


def test_what_was_answered_is_not_cancelled(desk: IBDataManager) -> None:
    cancelled = spied(desk, "cancelHistoricalData")

    fetch(desk)

    assert cancelled == []


def test_a_head_timestamp_is_always_cancelled(desk: IBDataManager) -> None:
    """IB counts it among the 50 that are under way until then."""
    cancelled = spied(desk, "cancelHeadTimeStamp")

    desk.fetch_head_timestamp("AAPL")

    assert len(cancelled) == 1


def spied(manager: IBDataManager, method: str) -> list[int]:
    """Return what ib_insync's client will be told to do by one of its methods; it does it, too."""
    calls: list[int] = []

    async def spy(ib: ib_insync.IB) -> None:
        real: Callable[[int], None] = getattr(ib.client, method)

        def called(number: int) -> None:
            calls.append(number)
            real(number)

        setattr(ib.client, method, called)

    manager.use(spy)
    return calls


def telling(manager: IBDataManager, code: int, text: str, *, after: bool = False) -> None:
    """Let IB tell a code about each request for bars, before or after their coming."""

    async def interpose(ib: ib_insync.IB) -> None:
        real: Callable[[list[str]], None] = ib.client.decoder.interpret

        def interpret(message: list[str]) -> None:
            notice = ["4", "2", message[1], str(code), text, ""]
            both = [message, notice] if after else [notice, message]
            for one in both if message[0] == "17" else [message]:
                real(one)

        ib.client.decoder.interpret = interpret

    manager.use(interpose)


@pytest.mark.parametrize(
    ("code", "text", "delayed"),
    [
        (2174, "Warning: You submitted request with date-time attributes without explicit time zone.", False),
        (2188, "Up-to-the-second part of the requested data needs a subscription.", True),
        (10090, "Part of requested market data is not subscribed.", True),
        (165, "Historical Market Data Service query message:HMDS server connection was successful.", False),
        (2199, "a warning that nobody has seen", False),
    ],
)
def test_a_warning_beside_the_bars_leaves_them(desk: IBDataManager, code: int, text: str, delayed: bool) -> None:
    whole = fetch(desk)
    telling(desk, code, text)

    bars = fetch(desk)

    pd.testing.assert_frame_equal(bars, whole, check_exact=True)
    assert bars.attrs["delayed"] is delayed


def test_an_error_after_the_bars_takes_nothing_back(desk: IBDataManager) -> None:
    whole = fetch(desk)
    telling(desk, 162, f"{SERVICE}API historical data query cancelled: 3", after=True)

    pd.testing.assert_frame_equal(fetch(desk), whole, check_exact=True)


def test_bars_after_an_error_are_not_taken(desk: IBDataManager) -> None:
    telling(desk, 162, f"{SERVICE}No market data permissions for ISLAND STK")

    with pytest.raises(NoPermission):
        fetch(desk)
