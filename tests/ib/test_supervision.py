"""A connection that is kept, by the real ib_insync, through everything that a gateway does to it."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.ib.conftest import at
from workbench.errors import ConnectionFailed, Disconnected, IBError, RequestTimeout, Unavailable, UnknownContract
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import (
    Action,
    ClientIdStuck,
    Close,
    ConnectivityLost,
    ConnectivityRestored,
    ContractsUnknown,
    Drop,
    FarmBroken,
    Fault,
    Garbage,
    LiveUpdatesFailed,
    PortReset,
    Refuse,
    Reset,
    Restart,
    ServerBroken,
    Stall,
    Tell,
    When,
    WrongLength,
)
from workbench.gateway.faults.connectivity import BROKEN, LOST, OK, RESTORED
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.health import Connected, Dropped, Event, Health, Streams, StreamsRenewed, Told

if TYPE_CHECKING:
    import ib_insync

NOON = "2026-11-20T12:00:00"
SPEED = 20.0
LATE_S = 20.0

Connect = Callable[..., IBDataManager]


@contextmanager
def gateway_at(text: str = NOON, speed: float = SPEED) -> Iterator[GatewayServer]:
    with running(SimulatedTape(1, start=int(at(text))), GatewayClock(at(text), speed)) as server:
        yield server


@pytest.fixture
def gateway() -> Iterator[GatewayServer]:
    with gateway_at() as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ib.supervision.GRACE_S", 0.1)
    monkeypatch.setattr("workbench.ib.asking._PAUSE_S", 0.01)


@contextmanager
def desk(gateway: GatewayServer, **changes: object) -> Iterator[IBDataManager]:
    settings = {"timeout": 2.0, "paced": False, "reset_region": None} | changes
    with IBDataManager(IBConnectionConfig(gateway.host, gateway.port, **settings)) as manager:  # type: ignore[arg-type]
        yield manager


def fetch(manager: IBDataManager, symbol: str = "AAPL") -> pd.DataFrame:
    return manager.fetch_historical_bars(symbol, "1 hour", "2 D", end=datetime(2026, 11, 19, 21, tzinfo=UTC))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LATE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


AT_A_REQUEST = When("reqHistoricalData")
AT_AN_ANSWER = When("historicalData")

# The connection, or the way to IB, is lost while a request is under way

LOSSES: dict[str, tuple[When, Action]] = {
    "closed at the request": (AT_A_REQUEST, Close()),
    "closed in the answer": (AT_AN_ANSWER, Close(keep=0.5)),
    "reset at the request": (AT_A_REQUEST, Reset()),
    "reset in the answer": (AT_AN_ANSWER, Reset(keep=0.9)),
    "TWS restarts": (AT_A_REQUEST, Restart(seconds=10)),
    "another port": (AT_A_REQUEST, PortReset()),
    "the client id stays in use": (AT_A_REQUEST, ClientIdStuck(seconds=1e6)),
    "half open": (AT_A_REQUEST, Stall()),
    "garbage": (AT_AN_ANSWER, Garbage(seed=1)),
    "a wrong length": (AT_AN_ANSWER, WrongLength(by=1_000_000)),
    "IB lost": (AT_A_REQUEST, ConnectivityLost(seconds=10)),
    "IB lost, and data": (AT_A_REQUEST, ConnectivityLost(seconds=10, data="lost")),
    "IB lost, told again and again": (AT_A_REQUEST, ConnectivityLost(seconds=10, every=1)),
    "the server broken": (AT_A_REQUEST, ServerBroken(seconds=10)),
    "history's farm broken": (AT_A_REQUEST, FarmBroken("historical", seconds=10)),
}


@pytest.mark.parametrize(("when", "action"), LOSSES.values(), ids=LOSSES)
def test_a_request_under_way_is_repeated_after(gateway: GatewayServer, when: When, action: Action) -> None:
    with desk(gateway, watchdog_s=0.3, timeout=0.7) as manager:
        whole = fetch(manager)
        gateway.inject(Fault(when, action))

        bars = fetch(manager)

        pd.testing.assert_frame_equal(bars, whole, check_exact=True)
        until(lambda: manager.connected)  # it may have ended after the answer


@pytest.mark.parametrize("action", [Reset(), Close(), Restart(seconds=10)], ids=["reset", "closed", "restarted"])
def test_the_time_is_asked_for_again_when_the_connection_ends_under_the_question(
    gateway: GatewayServer, action: Action
) -> None:
    with desk(gateway) as manager:
        gateway.inject(Fault(When("reqCurrentTime"), action))

        assert manager.current_time().year == 2026


def test_what_was_under_way_is_repeated_as_soon_as_there_is_another_connection(
    gateway: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that has ended gives no answer any more: there is no time of grace."""
    monkeypatch.setattr("workbench.ib.supervision.GRACE_S", 1e6)

    with desk(gateway) as manager:
        gateway.inject(Fault(AT_A_REQUEST, Reset()))

        assert len(fetch(manager)) == 14


def test_an_outage_is_told_once_at_its_begin_and_once_at_its_end(
    gateway: GatewayServer, caplog: pytest.LogCaptureFixture
) -> None:
    with desk(gateway) as manager:
        gateway.inject(Fault(AT_A_REQUEST, ConnectivityLost(seconds=10, every=0.1)))
        fetch(manager)

    of_ours = [record for record in caplog.records if record.name.startswith("workbench.ib")]
    told = [record.message for record in of_ours if record.levelname == "WARNING"]
    assert len(told) == 2
    assert told[0].startswith("IB code 1100: Connectivity between IBKR and Trader Workstation has been lost. IB's")
    assert told[1].endswith(": IB can be reached again; requests that waited go on")


def test_a_restart_is_told_in_plain_words(gateway: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    with desk(gateway) as manager:
        gateway.inject(Fault(AT_A_REQUEST, Restart(seconds=10)))
        fetch(manager)

    told = [record.message for record in caplog.records if record.name == "workbench.ib.supervision"]
    assert "has ended; it is made anew" in told[0]
    assert "connected again after" in told[-1]
    assert len(told) <= 3  # the third: why the first try failed, and what to check


def test_a_client_id_that_stays_in_use_is_told(gateway: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    with desk(gateway, client_id=11) as manager:
        gateway.inject(Fault(AT_A_REQUEST, ClientIdStuck(seconds=1e6)))
        fetch(manager)

    assert "client id 11 is already in use" in caplog.text
    assert "took 12" in caplog.text


def test_a_new_port_that_leads_nowhere_is_given_up_for_the_configured_one(gateway: GatewayServer) -> None:
    with desk(gateway) as manager:
        gateway.inject(Fault(AT_A_REQUEST, Tell(1300, "Please reconnect on the new port - 19")))
        gateway.inject(Fault(AT_A_REQUEST, Reset()))

        assert len(fetch(manager)) == 14


def test_requests_that_come_during_an_outage_wait_for_its_end(gateway: GatewayServer) -> None:
    with desk(gateway) as manager, ThreadPoolExecutor(4) as pool:
        gateway.inject(Fault(When(), Tell(LOST.code, LOST.text)))
        until(lambda: not manager.health.is_well)
        waiting = [pool.submit(fetch, manager, symbol) for symbol in ("AAPL", "MSFT", "SPY", "KO")]
        time.sleep(0.1)
        assert not any(future.done() for future in waiting)

        gateway.inject(Fault(When(), ConnectivityRestored()))

        assert {len(future.result()) for future in waiting} == {14}


def test_what_is_answered_after_an_outage_is_not_asked_for_again(gateway: GatewayServer) -> None:
    """The answer comes within the time of grace."""
    with desk(gateway) as manager:
        gateway.inject(Fault(AT_A_REQUEST, Tell(LOST.code, LOST.text)))
        gateway.inject(Fault(AT_A_REQUEST, Tell(RESTORED.code, RESTORED.text)))
        gateway.inject(Fault(When("reqHistoricalData", nth=2), Refuse("unknown")))

        assert len(fetch(manager)) == 14


def test_another_account_behind_the_same_port_is_told_and_never_taken_for_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with gateway_at() as first:
        port = first.port
        manager = IBDataManager(IBConnectionConfig(first.host, port, paced=False, patience_s=LATE_S))
        manager.connect()
        before = fetch(manager).attrs["source"]
    try:
        with running(SimulatedTape(2, start=int(at(NOON))), GatewayClock(at(NOON), SPEED), port=port):
            after = fetch(manager).attrs["source"]
            assert (before, after) == (
                "built-in gateway (SIMULATED-1-R1)",
                "built-in gateway (SIMULATED-2-R1)",
            )
            assert manager.source == after
    finally:
        manager.disconnect()
    assert "another account now, SIMULATED-2-R1 instead of SIMULATED-1-R1" in caplog.text


# Patience


def test_when_ib_stays_away_the_error_says_what_to_look_at(gateway: GatewayServer) -> None:
    with desk(gateway, patience_s=0.2) as manager:
        gateway.inject(Fault(When(), Tell(LOST.code, LOST.text)))
        until(lambda: not manager.health.is_well)

        with pytest.raises(Disconnected, match=r"TWS or IB Gateway has lost IB\. Look whether .* logged in"):
            fetch(manager)
        begun = time.monotonic()
        for _ in range(100):  # patience counts from the begin of the outage
            with pytest.raises(Disconnected):
                fetch(manager)
        assert time.monotonic() - begun < 100 * 0.2

        gateway.inject(Fault(When(), ConnectivityRestored()))
        until(lambda: manager.health.is_well)
        assert len(fetch(manager)) == 14


def test_a_time_out_over_a_connection_that_is_well_is_no_outage(gateway: GatewayServer) -> None:
    with desk(gateway, request_timeout_s=0.2) as manager:
        gateway.inject(Fault(AT_AN_ANSWER, Drop()))

        with pytest.raises(RequestTimeout):
            fetch(manager)


# What is believed


def test_an_unknown_contract_is_not_believed_while_the_farm_of_contracts_is_away(gateway: GatewayServer) -> None:
    with desk(gateway) as manager:
        gateway.inject(Fault(AT_A_REQUEST, Tell(BROKEN["secdef"].code, BROKEN["secdef"].text)))
        gateway.inject(Fault(AT_A_REQUEST, Refuse("unknown")))
        gateway.inject(Fault(When(after=5), Tell(OK["secdef"].code, OK["secdef"].text)))

        assert len(fetch(manager)) == 14


def test_no_data_is_not_believed_when_ib_was_away_meanwhile(gateway: GatewayServer) -> None:
    with desk(gateway) as manager:
        gateway.inject(Fault(AT_A_REQUEST, Tell(LOST.code, LOST.text)))
        gateway.inject(Fault(AT_A_REQUEST, Tell(RESTORED.code, RESTORED.text)))
        gateway.inject(Fault(AT_A_REQUEST, Refuse("no-data")))

        assert len(fetch(manager)) == 14


def test_no_data_is_not_believed_when_the_notice_comes_a_moment_later(gateway: GatewayServer) -> None:
    """IB is found to be lost while the gateway is asked whether it is in a reset window."""
    with desk(gateway, reset_region="america") as manager:
        gateway.inject(Fault(AT_A_REQUEST, Refuse("no-data")))
        gateway.inject(Fault(When("reqCurrentTime"), ConnectivityLost(seconds=10)))

        assert len(fetch(manager)) == 14


@pytest.mark.parametrize("reason", ["no-data", "unknown", "no-permission"])
def test_nothing_is_final_in_a_reset_window(reason: str) -> None:
    with gateway_at("2026-11-20T00:30:00", speed=1) as gateway, desk(gateway, reset_region="america") as manager:
        gateway.inject(Fault(When("reqHistoricalData", times=0), Refuse(reason)))

        with pytest.raises(
            Unavailable, match="not taken as final: IB resets its servers until Fri 01:45 EST"
        ) as caught:
            fetch(manager)

        assert not caught.value.permanent


def test_what_comes_in_a_reset_window_is_taken(gateway: GatewayServer) -> None:
    with gateway_at("2026-11-20T00:30:00", speed=1) as at_night, desk(at_night, reset_region="america") as manager:
        assert len(fetch(manager)) == 14


@pytest.mark.parametrize(
    ("text", "region"),
    [("2026-11-20T00:30:00", None), ("2026-11-20T00:30:00", "asia"), (NOON, "america")],
    ids=["a gateway without resets", "another region's night", "noon"],
)
def test_elsewhere_and_at_other_times_ibs_word_is_final(text: str, region: str | None) -> None:
    with gateway_at(text, speed=1) as gateway, desk(gateway, reset_region=region) as manager:
        gateway.inject(Fault(When(), ContractsUnknown()))
        with pytest.raises(UnknownContract):
            fetch(manager)


def test_while_the_gateway_does_not_tell_its_time_nothing_is_final(gateway: GatewayServer) -> None:
    with desk(gateway, reset_region="america", timeout=0.3) as manager:
        gateway.inject(Fault(When("reqCurrentTime", times=0), Drop()))
        gateway.inject(Fault(When("reqHistoricalData", times=0), Refuse("no-data")))

        with pytest.raises(Unavailable, match="does not tell its time"):
            fetch(manager)


# The watchdog and the clock


def test_a_silent_gateway_that_answers_is_left_alone(gateway: GatewayServer) -> None:
    events: list[Event] = []
    asked: list[float] = []

    async def spy(ib: ib_insync.IB) -> None:
        real = ib.client.reqCurrentTime
        ib.client.reqCurrentTime = lambda: (asked.append(time.monotonic()), real())

    with desk(gateway, watchdog_s=0.05, timeout=LATE_S) as manager:
        manager.use(spy)
        manager.listen(lambda event, _health: events.append(event))
        until(lambda: len(asked) >= 3)

    assert events == [Dropped()]  # our own goodbye


def test_a_question_for_the_time_that_was_given_up_does_not_spoil_the_next() -> None:
    """A gateway ignores a second one within a second."""

    async def given_up(manager: IBDataManager) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.current_time_async(), 0.1)

    with gateway_at(speed=1) as gateway, desk(gateway) as manager:
        gateway.inject(Fault(When("currentTime"), Drop()))
        asyncio.run(given_up(manager))

        assert manager.current_time().year == 2026


# Ending


def test_disconnect_ends_what_waits_for_an_answer(gateway: GatewayServer) -> None:
    gateway.inject(Fault(When("historicalData", times=0), Drop()))

    assert_ended_at_once(gateway, lambda manager: fetch(manager), started=lambda manager: under_way(manager) == 1)


def test_disconnect_ends_what_waits_for_ib(gateway: GatewayServer) -> None:
    gateway.inject(Fault(When("reqCurrentTime"), Tell(LOST.code, LOST.text)))

    def ask(manager: IBDataManager) -> None:
        manager.current_time()
        until(lambda: not manager.health.is_well)
        fetch(manager)

    assert_ended_at_once(gateway, ask, started=lambda manager: not manager.health.is_well)


def test_disconnect_ends_what_waits_for_the_connection(gateway: GatewayServer) -> None:
    gateway.inject(Fault(AT_A_REQUEST, Restart(seconds=1e6)))

    assert_ended_at_once(gateway, lambda manager: fetch(manager), started=lambda manager: not manager.connected)


def test_disconnect_ends_what_waits_for_a_handshake_that_never_comes(gateway: GatewayServer) -> None:
    gateway.inject(Fault(AT_A_REQUEST, Reset()))
    gateway.inject(Fault(When("handshake", nth=2), Stall()))

    assert_ended_at_once(
        gateway, lambda manager: fetch(manager), started=lambda manager: not manager.connected, timeout=3600.0
    )


def test_disconnect_ends_what_waits_for_ibs_limits(gateway: GatewayServer) -> None:
    gateway.inject(Fault(AT_A_REQUEST, Refuse("pacing")))

    assert_ended_at_once(gateway, lambda manager: fetch(manager), started=lambda manager: under_way(manager) == 0)


def under_way(manager: IBDataManager) -> int:
    link = manager._link
    return len(link.desk._asked) if link else -1


def assert_ended_at_once(
    gateway: GatewayServer,
    work: Callable[[IBDataManager], object],
    *,
    started: Callable[[IBDataManager], bool],
    **changes: object,
) -> None:
    before = set(threading.enumerate())
    with ThreadPoolExecutor(1) as pool, desk(gateway, request_timeout_s=3600.0, **changes) as manager:
        waiting = pool.submit(work, manager)
        until(lambda: started(manager))
        time.sleep(0.05)
        assert not waiting.done()

        manager.disconnect()

        with pytest.raises(Disconnected, match=r"disconnect"):
            waiting.result(timeout=5)
    assert set(threading.enumerate()) <= before


def test_an_awaiting_cell_is_told_of_a_disconnect_and_not_cancelled(gateway: GatewayServer) -> None:
    gateway.inject(Fault(When("historicalData", times=0), Drop()))

    async def cell(manager: IBDataManager) -> str:
        fetching = asyncio.create_task(manager.fetch_historical_bars_async("AAPL", "1 hour", "2 D"))
        await asyncio.sleep(0.1)
        await manager.disconnect_async()
        with pytest.raises(Disconnected):
            await fetching
        return "went on"

    with desk(gateway, request_timeout_s=3600.0) as manager:
        assert asyncio.run(cell(manager)) == "went on"


def test_threads_that_ask_while_another_disconnects_all_come_to_an_end(gateway: GatewayServer) -> None:
    def ask(manager: IBDataManager) -> str:
        try:
            while True:
                fetch(manager)
        except IBError as error:
            return type(error).__name__

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            with desk(gateway) as manager:
                asking: list[Future[str]] = [pool.submit(ask, manager) for _ in range(8)]
                time.sleep(0.05)
                manager.disconnect()
                assert {future.result(timeout=10) for future in asking} == {"Disconnected"}


@pytest.mark.parametrize("fault", [Drop(), Restart(seconds=1e6)], ids=["an answer", "the connection"])
def test_ctrl_c_ends_the_waiting_and_leaves_the_connection(gateway: GatewayServer, fault: Action) -> None:
    with desk(gateway, request_timeout_s=3600.0) as manager:
        gateway.inject(Fault(When("reqHistoricalData"), fault))
        pressing = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
        pressing.start()

        with pytest.raises(KeyboardInterrupt):
            fetch(manager)

        if isinstance(fault, Drop):
            until(lambda: under_way(manager) == 0)
            assert len(fetch(manager)) == 14


# Threads and loops


def test_a_blocking_call_on_the_connections_own_thread_is_refused(gateway: GatewayServer) -> None:
    async def blocking(_ib: object) -> None:
        fetch(manager)

    with desk(gateway) as manager, pytest.raises(RuntimeError, match="await the async twin"):
        manager.use(blocking)


def test_the_async_twin_works_on_the_connections_own_loop(gateway: GatewayServer) -> None:
    async def awaiting(_ib: object) -> int:
        return len(await manager.fetch_historical_bars_async("AAPL", "1 day", "1 M"))

    with desk(gateway) as manager:
        assert manager.use(awaiting) > 15


# Connecting by hand, and listening


def test_connect_during_an_outage_says_at_once_what_is_wrong_and_keeps_what_waits(gateway: GatewayServer) -> None:
    with desk(gateway) as manager, ThreadPoolExecutor(1) as pool:
        gateway.inject(Fault(AT_A_REQUEST, Restart(seconds=15)))
        waiting = pool.submit(fetch, manager)
        until(lambda: not manager.connected)

        with pytest.raises(ConnectionFailed, match="nobody answers"):
            manager.connect()

        assert len(waiting.result(timeout=LATE_S)) == 14


def test_whoever_listens_is_told_each_event_and_the_health_after_it(gateway: GatewayServer) -> None:
    heard: list[tuple[Event, Health]] = []
    with desk(gateway) as manager:
        fetch(manager)
        stop = manager.listen(lambda event, health: heard.append((event, health)))
        gateway.inject(Fault(AT_A_REQUEST, ConnectivityLost(seconds=5, data="lost")))
        fetch(manager)
        gateway.inject(Fault(AT_A_REQUEST, Reset()))
        fetch(manager)
        manager.streams_renewed()
        until(lambda: heard[-1][0] == StreamsRenewed())
        stop()
        stop_count = len(heard)
        gateway.inject(Fault(AT_A_REQUEST, Reset()))
        fetch(manager)

    told = [event.code for event, _ in heard if isinstance(event, Told)]
    assert told[:2] == [1100, 1101]
    assert [type(event) for event, _ in heard if not isinstance(event, Told)] == [Dropped, Connected, StreamsRenewed]
    assert [health.streams for event, health in heard if event == Told(LOST.code, LOST.text)] == [Streams.DEAD]
    assert heard[-1][1].streams is Streams.ALIVE
    assert len(heard) == stop_count


def test_streams_are_suspect_when_one_of_them_has_ended(gateway: GatewayServer) -> None:
    async def keep_up(ib: ib_insync.IB) -> None:
        from ib_insync import Stock

        await ib.reqHistoricalDataAsync(Stock("AAPL", "SMART", "USD"), "", "1 D", "1 min", "TRADES", True, 2, True)

    with desk(gateway) as manager:
        manager.use(keep_up)
        manager.streams_renewed()
        assert (manager.health.streams, manager.health.suspect_since) == (Streams.ALIVE, None)

        gateway.inject(Fault(When(), LiveUpdatesFailed()))

        until(lambda: manager.health.streams is Streams.SUSPECT)
        assert manager.health.is_well


def test_a_listener_that_fails_breaks_nothing(gateway: GatewayServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_event: Event, _health: Health) -> None:
        raise ValueError("of its own")

    with desk(gateway) as manager:
        manager.listen(fail)
        gateway.inject(Fault(AT_A_REQUEST, Reset()))

        assert len(fetch(manager)) == 14
    assert "a listener to the connection failed" in caplog.text
