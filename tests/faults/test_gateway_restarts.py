"""IB's reset windows, and faults that end connections or move the gateway, as the real ib_insync meets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.desk import (
    FOR_EVER,
    FRIDAY_NIGHT,
    HMDS,
    LATE_S,
    NEW_YORK,
    NIGHT,
    SOON_S,
    WORDS,
    Desk,
    client,
    given_up,
    hangs,
    meet,
    tape,
)
from workbench.errors import GatewayError
from workbench.gateway.faults import (
    Action,
    ClientIdStuck,
    Close,
    ContractsUnknown,
    Drop,
    Fault,
    NightlyReset,
    PortReset,
    Restart,
    WeekendReset,
    When,
)
from workbench.gateway.faults.script import format_faults
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running

# The windows in which IB resets its servers


def test_valid_contracts_are_unknown_in_a_reset_window() -> None:
    async def conversation(desk: Desk) -> None:
        desk.strike(ContractsUnknown(seconds=FOR_EVER, symbols=("AAPL",)))
        assert await desk.details() == []
        assert not await desk.history()
        assert [it[1:] for it in desk.errors] == [(200, WORDS[200])] * 2
        assert len(await desk.details("MSFT")) == 1

    meet(conversation)


def test_the_nightly_reset_comes_at_its_exchange_time() -> None:
    async def conversation(desk: Desk) -> None:
        soon = datetime.fromtimestamp(desk.gateway.clock.now() + 200, NEW_YORK)
        desk.strike(NightlyReset(FOR_EVER), daily=f"{soon:%H:%M:%S}")
        await desk.until(lambda: len(desk.errors) == 3)
        assert desk.gateway.clock.now() >= int(soon.timestamp())
        assert await desk.details() == []
        assert not await desk.history()
        told = [it[1:] for it in desk.errors]
        assert told == [*[(code, WORDS[code]) for code in (1100, 2103, 2105, 200)], (162, f"{HMDS}Request Timed Out")]

    meet(conversation, start=NIGHT)


def test_on_the_weekend_the_handshake_works_and_every_request_times_out() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import IB

        desk.strike(WeekendReset(FOR_EVER))
        assert await hangs(desk.history())
        assert await hangs(desk.details())
        assert desk.ib.isConnected()

        other, told = IB(), []
        other.client.apiStart += lambda: told.append(other.client.getAccounts())
        connecting = other.connectAsync(desk.gateway.host, desk.gateway.port, clientId=2, timeout=LATE_S)
        async with given_up(connecting):
            await desk.until(lambda: bool(told))
            assert told == [["SIMULATED-1-R1"]]
            await asyncio.sleep(SOON_S)

    meet(conversation)


def test_a_reset_on_a_weekday_leaves_the_other_days_alone() -> None:
    """As `When` says it of North America: Friday at 23:00."""

    async def conversation(desk: Desk) -> None:
        begin = datetime.fromtimestamp(FRIDAY_NIGHT, NEW_YORK).replace(hour=23, minute=0, second=0).timestamp()
        for weekdays in ("Mon Tue Wed Thu", "Sat Sun"):
            desk.strike(WeekendReset(FOR_EVER), daily="23:00", weekdays=weekdays, times=0)
        await desk.until(lambda: desk.gateway.clock.now() > begin)
        assert len(await desk.history()) == 7

        desk.strike(WeekendReset(FOR_EVER), daily="23:05", weekdays="Fri", times=0)
        await desk.until(lambda: desk.gateway.clock.now() > begin + 300)
        assert await hangs(desk.history())

    meet(conversation, start=FRIDAY_NIGHT)


@pytest.mark.parametrize("action", [NightlyReset(20), WeekendReset(20), ContractsUnknown(20)])
def test_after_a_reset_all_is_answered_as_before(action: Action) -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        over = desk.gateway.clock.now() + 21
        desk.strike(action)
        await desk.until(lambda: desk.gateway.clock.now() > over)

        assert len(await desk.history()) == 7
        assert len(await desk.details()) == 1
        count = len(bars)
        await desk.until(lambda: len(bars) > count)

    meet(conversation)


# The gateway itself


async def comes_back(gateway: GatewayServer, client_id: int = 1) -> None:
    """Wait until a client may connect again."""
    async with asyncio.timeout(LATE_S):
        while True:
            with suppress(OSError, TimeoutError):
                async with client(gateway, client_id) as again:
                    assert len(await again.history()) == 7
                    return
            await asyncio.sleep(0.02)


def test_a_killed_clients_id_stays_in_use() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import IB

        desk.strike(ClientIdStuck(FOR_EVER), client=1)
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        again, codes = IB(), list[tuple[int, str]]()
        again.errorEvent += lambda _, code, text, __: codes.append((code, text))
        connecting = again.connectAsync(desk.gateway.host, desk.gateway.port, clientId=1, timeout=LATE_S)
        async with given_up(connecting):
            await desk.until(lambda: bool(codes))
            assert codes == [(326, WORDS[326])]
        async with client(desk.gateway, 2) as other:
            assert await other.details()

    meet(conversation)


@pytest.mark.parametrize("action", [ClientIdStuck(20), Restart(20)])
def test_the_client_gets_its_id_back_after(action: Action) -> None:
    async def conversation(desk: Desk) -> None:
        desk.strike(action)
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        over = desk.gateway.clock.now() + 20
        await desk.until(lambda: desk.gateway.clock.now() > over)  # a connect that is refused waits 5 s
        await comes_back(desk.gateway)

    meet(conversation)


def test_a_script_goes_on_after_a_restart() -> None:
    async def conversation(desk: Desk) -> None:
        assert len(await desk.history()) == 7
        desk.strike(Restart(5))
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        await comes_back(desk.gateway)  # with a second answer
        async with client(desk.gateway) as again:
            assert await hangs(again.history())

    meet(conversation, faults=[Fault(When("historicalData", nth=3), Drop())])


def test_a_gateway_that_has_ended_says_so() -> None:
    with running(tape()) as gateway:
        pass

    with pytest.raises(GatewayError, match="has ended"):
        gateway.inject(Fault(When(), Close()))


def test_during_a_restart_connections_are_refused() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import IB

        port = desk.gateway.port
        desk.strike(Restart(FOR_EVER))
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        with pytest.raises(ConnectionRefusedError):
            await IB().connectAsync(desk.gateway.host, port, clientId=1, timeout=2)

    meet(conversation)


def test_the_gateway_moves_to_another_port_and_tells_it() -> None:
    async def conversation(desk: Desk) -> None:
        before = desk.gateway.port
        desk.strike(PortReset())
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        after = desk.gateway.port
        assert after != before
        assert desk.errors == [(-1, 1300, f"{WORDS[1300]}{after}")]
        await comes_back(desk.gateway)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(desk.gateway.host, before)

    meet(conversation)


def test_where_the_new_port_is_taken_the_clients_are_ended_and_the_old_one_stays() -> None:
    async def conversation(desk: Desk) -> None:
        before = desk.gateway.port
        desk.strike(PortReset(before))
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        assert desk.codes == [1300]
        assert desk.gateway.port == before
        await comes_back(desk.gateway)

    meet(conversation)


SERVED = "from workbench.cli import main; main()"


def test_a_script_is_taken_from_a_file_on_the_command_line(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(format_faults([Fault(When("historicalData", symbol="AAPL"), Drop())]))
    arguments = ["gateway", "--embedded", "--port", "0", "--start", "2026-11-20T10:00", "--faults", str(script)]

    async def converse(port: int) -> None:
        async with client(SimpleNamespace(host="127.0.0.1", port=port)) as desk:
            assert len(await desk.history("MSFT")) == 7
            assert await hangs(desk.history("AAPL"))
            assert len(await desk.history("AAPL")) == 7

    with subprocess.Popen(
        [sys.executable, "-c", SERVED, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        asyncio.run(converse(int(process.stdout.readline().split()[2])))
        process.stdin.close()
        assert process.wait(LATE_S) == 0
