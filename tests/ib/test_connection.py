"""The connection, made by the real ib_insync to the built-in gateway over TCP."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import pandas as pd
import pytest

from tests.ib.conftest import at
from workbench.errors import (
    ConnectionFailed,
    Disconnected,
    InvalidInput,
    InvalidInterval,
    InvalidSymbol,
    UnknownContract,
    UnknownTimeframe,
)
from workbench.gateway.clock import GatewayClock
from workbench.gateway.rulebook import Rulebook
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.market.bars import COLUMNS, INDEX_DTYPE


def config(gateway: GatewayServer, **changes: float) -> IBConnectionConfig:
    return IBConnectionConfig(gateway.host, gateway.port, **changes)


def test_it_connects_and_disconnects_as_often_as_asked(market: GatewayServer) -> None:
    manager = IBDataManager(config(market))

    for _ in range(3):
        manager.connect()
        manager.connect()
        assert manager.connected
        manager.disconnect()
        manager.disconnect()
        assert not manager.connected


def test_no_thread_outlives_a_connection(market: GatewayServer) -> None:
    before = set(threading.enumerate())

    with IBDataManager(config(market)):
        assert set(threading.enumerate()) > before

    assert set(threading.enumerate()) <= before


def test_two_connections_live_side_by_side(market: GatewayServer) -> None:
    with IBDataManager(config(market, client_id=1)) as one, IBDataManager(config(market, client_id=2)) as two:
        pd.testing.assert_frame_equal(
            one.fetch_historical_bars("AAPL", "1 hour", "5 D"), two.fetch_historical_bars("AAPL", "1 hour", "5 D")
        )


def test_a_client_id_in_use_makes_room_for_the_next(market: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "workbench.ib")

    with IBDataManager(config(market, client_id=7)) as first, IBDataManager(config(market, client_id=7)) as second:
        assert first.connected
        assert second.connected

    assert "client id 7" in caplog.text
    assert "already in use" in caplog.text


def test_when_all_client_ids_are_in_use_the_setting_is_named(market: GatewayServer) -> None:
    begun = time.monotonic()

    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(IBDataManager(config(market, client_id=20 + number)))
        with pytest.raises(ConnectionFailed, match=r"client ids 20 to 27 are all in use.*WORKBENCH_IB__CLIENT_ID"):
            IBDataManager(config(market, client_id=20)).connect()

    assert time.monotonic() - begun < IBConnectionConfig().timeout


def test_threads_that_connect_at_once_share_one_connection(market: GatewayServer) -> None:
    before, manager = set(threading.enumerate()), IBDataManager(config(market))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: manager.connect(), range(4)))
    manager.disconnect()

    assert set(threading.enumerate()) <= before


def test_without_a_gateway_the_error_says_where_and_what_to_check() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(ConnectionFailed, match=f"host 127.0.0.1, port {port}.*API is enabled") as caught:
        IBDataManager(IBConnectionConfig(port=port)).connect()

    assert "TWS paper 7497" in str(caught.value)


def test_a_gateway_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = IBConnectionConfig(port=mute.getsockname()[1], timeout=0.2)

        with pytest.raises(ConnectionFailed, match="accepted the connection but did not answer"):
            IBDataManager(silent).connect()


def test_a_failed_connect_leaves_no_thread() -> None:
    before = set(threading.enumerate())

    with pytest.raises(ConnectionFailed):
        IBDataManager(IBConnectionConfig(port=1)).connect()

    assert set(threading.enumerate()) <= before


def test_bars_come_as_complete_columns_in_utc(ib: IBDataManager) -> None:
    bars = ib.fetch_historical_bars("AAPL", "15 mins", "2 D")

    assert list(bars.columns) == list(COLUMNS)
    assert str(bars.index.dtype) == INDEX_DTYPE
    assert bars.index.is_monotonic_increasing
    assert bars.index[0].isoformat() == "2026-11-19T14:30:00+00:00"


def test_the_forming_bar_is_left_out(ib: IBDataManager) -> None:
    """It is 10:07 in New York."""
    last = {
        size: ib.fetch_historical_bars("AAPL", size, "1 D").index[-1].tz_convert("America/New_York").strftime("%H:%M")
        for size in ("1 min", "5 mins", "15 mins", "1 hour")
    }

    assert last["1 min"] in ("10:06", "10:07", "10:08", "10:09")  # the clock goes on
    assert last == last | {"5 mins": "10:00", "15 mins": "09:45", "1 hour": "09:30"}


def test_the_day_that_is_not_over_is_left_out(ib: IBDataManager) -> None:
    bars = ib.fetch_historical_bars("SPY", "1 day", "1 M")

    assert bars.index[-1].isoformat() == "2026-11-19T00:00:00+00:00"


def test_an_index_is_asked_for_as_an_index(ib: IBDataManager) -> None:
    bars = ib.fetch_historical_bars("VIX", "1 day", "1 M")

    assert len(bars) > 15
    assert (bars["volume"] == 0).all()


def test_an_end_in_the_past_bounds_the_bars(ib: IBDataManager) -> None:
    end = datetime(2026, 11, 6, 21, 0, tzinfo=UTC)

    bars = ib.fetch_historical_bars("AAPL", "1 hour", "5 D", end=end)

    assert bars.index[-1].isoformat() == "2026-11-06T20:00:00+00:00"
    assert len(bars) == 35


def test_an_unknown_symbol_is_named(ib: IBDataManager) -> None:
    with pytest.raises(UnknownContract, match=r"NOPE.*No security definition"):
        ib.fetch_historical_bars("NOPE", "1 day", "1 M")


def test_what_ib_has_nothing_of_is_an_empty_frame(ib: IBDataManager) -> None:
    bars = ib.fetch_historical_bars("AAPL", "15 mins", "5 D", end=datetime(2001, 1, 5, 21, 0, tzinfo=UTC))

    assert bars.empty
    assert list(bars.columns) == list(COLUMNS)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("AAPL", "15 minutes", "5 D"), UnknownTimeframe),
        (("AAPL", "15 mins", "5 days"), InvalidInput),
        (("../evil", "15 mins", "5 D"), InvalidSymbol),
        (("AAPL", "15 mins", "5 D", "trades"), InvalidInput),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(
    ib: IBDataManager, arguments: tuple[str, ...], error: type[InvalidInput]
) -> None:
    with pytest.raises(error):
        ib.fetch_historical_bars(*arguments)


def test_an_end_without_time_zone_is_refused(ib: IBDataManager) -> None:
    with pytest.raises(InvalidInterval, match="no time zone"):
        ib.fetch_historical_bars("AAPL", "1 day", "1 M", end=datetime(2026, 11, 6))  # noqa: DTZ001


def test_any_thread_may_call(ib: IBDataManager) -> None:
    symbols = ["AAPL", "MSFT", "SPY", "VIX", "JPM", "KO", "XOM", "TSLA"]

    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(lambda symbol: ib.fetch_historical_bars(symbol, "1 hour", "5 D"), symbols))

    assert all(len(bars) == 29 for bars in frames)  # four sessions, and the first bar of today
    assert len({float(bars["close"].iloc[-1]) for bars in frames}) == len(symbols)


def test_a_notebooks_loop_may_call_and_may_await(ib: IBDataManager) -> None:
    async def cell() -> tuple[pd.DataFrame, pd.DataFrame]:
        blocking = ib.fetch_historical_bars("AAPL", "1 day", "1 M")
        awaited = await ib.fetch_historical_bars_async("AAPL", "1 day", "1 M")
        return blocking, awaited

    pd.testing.assert_frame_equal(*asyncio.run(cell()))


def test_the_head_timestamp_bounds_the_past(ib: IBDataManager) -> None:
    head = ib.fetch_head_timestamp("AAPL")

    assert datetime(2016, 11, 15, tzinfo=UTC) < head < datetime(2016, 12, 1, tzinfo=UTC)


def test_the_gateways_time_is_told_however_often_it_is_asked_for(ib: IBDataManager) -> None:
    """A real gateway ignores a second question within a second."""
    told = [ib.current_time() for _ in range(5)]

    assert told == sorted(told)
    assert abs(told[0].timestamp() - at("2026-11-20T10:07:00")) < 600


def test_the_source_is_the_tape(ib: IBDataManager) -> None:
    assert ib.source == "built-in gateway (SIMULATED-1-R1)"
    assert ib.fetch_historical_bars("AAPL", "1 day", "1 M").attrs["source"] == ib.source


def test_a_call_without_connection_says_so() -> None:
    with pytest.raises(Disconnected, match=r"call connect\(\)"):
        IBDataManager().fetch_historical_bars("AAPL", "1 day", "1 M")


def test_a_gateway_that_goes_away_is_noticed_and_found_again() -> None:
    start = at("2026-11-20T10:07:00")
    tape = SimulatedTape(1, start=int(start))
    with running(tape, GatewayClock(start)) as first:
        port = first.port
        manager = IBDataManager(config(first, patience_s=0.2))
        manager.connect()
    try:
        with pytest.raises(Disconnected, match=r"no connection to the gateway.*Look whether TWS"):
            manager.fetch_historical_bars("AAPL", "1 day", "1 M")

        with running(tape, GatewayClock(start), port=port):
            manager.connect()
            assert not manager.fetch_historical_bars("AAPL", "1 day", "1 M").empty
    finally:
        manager.disconnect()


@pytest.fixture
def strict_market() -> Iterator[GatewayServer]:
    """A market that enforces IB's limits, in real time."""
    start = at("2026-11-20T17:00:00")
    with running(
        SimulatedTape(1, start=int(start)), GatewayClock(start), rulebook=Rulebook(), rules_clock=time.monotonic
    ) as gateway:
        yield gateway


def sessions_of_small_bars(ib: IBDataManager, number: int) -> list[int]:
    """Fetch a session of five-second bars for each of the last days, all at once; return how many bars each has."""
    ends = [datetime(2026, 11, day, 21, tzinfo=UTC) for day in (9, 10, 11, 12, 13, 16, 17)][:number]
    with ThreadPoolExecutor(number) as pool:
        frames = pool.map(lambda end: ib.fetch_historical_bars("AAPL", "5 secs", "1 D", end=end), ends)
        return [len(bars) for bars in frames]


def test_ibs_limits_are_kept(strict_market: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    """Six requests of one contract within two seconds would be one too many."""
    with IBDataManager(config(strict_market)) as ib:
        assert sessions_of_small_bars(ib, 7) == [4680] * 7

    assert "pacing violation" not in caplog.text


def test_a_violation_is_waited_out_and_nothing_is_lost(
    strict_market: GatewayServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another program uses up the limits of the account."""
    monkeypatch.setattr("workbench.ib.pacing.COOL_DOWN_S", 2.5)

    with IBDataManager(config(strict_market, paced=False)) as ib:
        assert sessions_of_small_bars(ib, 7) == [4680] * 7

    assert "pacing violation" in caplog.text
