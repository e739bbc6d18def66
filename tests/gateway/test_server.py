from __future__ import annotations

import asyncio
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from functools import cache

import pytest

from workbench.errors import GatewayError
from workbench.gateway import server as shell
from workbench.gateway.clock import GatewayClock
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.wire import GREETING, FrameReader, encode, fields, frame

NOON = 1_795_194_002.0  # Friday 2026-11-20 12:00:02 in New York
AAPL = ("0", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayServer]:
    with running(tape(), GatewayClock(NOON)) as server:
        yield server


def dial(server: GatewayServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=10)


def started(server: GatewayServer, client_id: int) -> tuple[socket.socket, FrameReader]:
    client, reader = dial(server), FrameReader()
    client.sendall(GREETING + frame(b"v157..176") + encode(71, 2, client_id, None))
    for _ in range(6):  # version, accounts, next id, three farms
        receive(client, reader)
    return client, reader


def receive(client: socket.socket, reader: FrameReader) -> list[str]:
    """Return the next message; bytes after it stay in the reader."""
    while (payload := next(reader.frames(), None)) is None:
        data = client.recv(4096)
        assert data, "the gateway hung up"
        reader.feed(data)
    return fields(payload)


@pytest.mark.parametrize("start", ["1985-06-03", "2050-01-03"])
def test_a_gateway_does_not_start_where_its_calendar_ends(start: str) -> None:
    clock = GatewayClock(datetime.fromisoformat(f"{start}T12:00-05:00").timestamp())

    with (
        pytest.raises(GatewayError, match=f"cannot start at {start} .*: sessions are known from"),
        running(tape(), clock),
    ):
        pytest.fail("it started")


def test_a_jump_to_where_the_calendar_ends_changes_nothing() -> None:
    clock = GatewayClock(NOON, real=lambda: 0.0)
    server = GatewayServer(tape(), clock)

    for to in (1e6, 3e9, 1e300, float("nan")):
        with pytest.raises(GatewayError, match="cannot jump to"):
            server.jump(to)

    assert clock.now() == NOON


def asks_the_time(client: socket.socket, reader: FrameReader) -> bool:
    client.sendall(encode(49, 1))
    return receive(client, reader)[0] == "49"


def is_hung_up_on(client: socket.socket) -> bool:
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_a_free_port_is_taken_and_told(gateway: GatewayServer) -> None:
    assert gateway.port > 0
    with dial(gateway):
        pass


def test_a_port_in_use_is_named_with_what_to_do(gateway: GatewayServer) -> None:
    with (
        pytest.raises(GatewayError, match=rf":{gateway.port} .*another port, or 0"),
        running(tape(), port=gateway.port),
    ):
        pass


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", GREETING + b"\xff" * 8, GREETING + frame(b"v157..176") + encode(25, 1, "x")]
)
def test_a_hostile_client_is_hung_up_on_and_disturbs_no_other(gateway: GatewayServer, garbage: bytes) -> None:
    good, reader = started(gateway, 1)
    with good, dial(gateway) as bad:
        bad.sendall(garbage)

        if garbage[4:].startswith(b"\0\0"):
            bad.sendall(encode(71, 2, 2, None))
        while not is_hung_up_on(bad):
            pass
        assert asks_the_time(good, reader)


def test_a_client_that_resets_frees_its_id(gateway: GatewayServer) -> None:
    first, _ = started(gateway, 11)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    first.close()

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        client = dial(gateway)
        client.sendall(GREETING + frame(b"v157..176") + encode(71, 2, 11, None))
        reader = FrameReader()
        receive(client, reader)
        with client:
            if receive(client, reader)[0] == "15":
                return
    pytest.fail("the id stayed in use")


def test_half_open_connections_do_not_keep_others_out(gateway: GatewayServer) -> None:
    idle = [dial(gateway) for _ in range(100)]
    client, reader = started(gateway, 12)

    with client:
        assert asks_the_time(client, reader)
    for it in idle:
        it.close()


def test_a_client_that_does_not_read_is_dropped_and_the_other_keeps_its_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "UNREAD_LIMIT", 1000)
    with running(tape(), GatewayClock(NOON, speed=1000)) as server:
        slow, _ = started(server, 1)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        good, reader = started(server, 2)
        wish = (*AAPL, 5, "TRADES", 1, None)
        slow.sendall(b"".join(encode(50, 3, req_id, *wish) for req_id in range(2000)))
        good.sendall(encode(50, 3, 1, *wish))

        with slow, good:
            for _ in range(300):
                assert receive(good, reader)[0] == "50"
        assert 1 not in server.gateway._client_ids


def test_closing_the_server_hangs_up_on_clients_and_can_be_done_twice() -> None:
    with running(tape(), GatewayClock(NOON)) as server:
        client, _ = started(server, 1)

    with client:
        assert is_hung_up_on(client)
    asyncio.run(GatewayServer(tape()).close())


def test_listening_beyond_this_machine_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with running(tape(), host="0.0.0.0"):
        pass

    assert "every machine that reaches it may connect" in caplog.text


SERVE = """
from workbench.gateway.serving import serve
from workbench.gateway.simulated import SimulatedTape
serve(SimulatedTape(seed=1), on_ready=lambda host, port: print(port, flush=True), until_stdin_closes=True)
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        yield child
        child.kill()


@pytest.mark.parametrize("end", ["stdin", "SIGTERM", "SIGINT"])
def test_a_served_gateway_ends_cleanly_with_its_parent_or_a_signal(process: subprocess.Popen[bytes], end: str) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        if end == "stdin":
            process.stdin.close()
        else:
            process.send_signal(getattr(signal, end))

        assert process.wait(timeout=20) == 0
        assert is_hung_up_on(client)
    assert process.stderr is not None
    assert process.stderr.read() == b""
