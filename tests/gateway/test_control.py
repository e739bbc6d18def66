from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import GatewayError
from workbench.gateway import control
from workbench.gateway.clock import GatewayClock
from workbench.gateway.control import (
    COMMANDS,
    GatewayControl,
    GatewayStatus,
    answer,
    known_gateways,
)
from workbench.gateway.faults import Fault, Silence, When
from workbench.gateway.handover import ControlFile
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape

NOON = 1_795_194_002.0  # Friday 2026-11-20 12:00:02 in New York


class Driven:
    """A gateway that writes down how it is driven."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []

    def status(self) -> GatewayStatus:
        return GatewayStatus(1.0, 2.0, False, 3, "TEST")

    def pause(self) -> None:
        self.done.append(("pause",))

    def resume(self) -> None:
        self.done.append(("resume",))

    def jump(self, to: float) -> None:
        self.done.append(("jump", to))

    def set_speed(self, speed: float) -> None:
        self.done.append(("speed", speed))

    def inject_script(self, script: str) -> None:
        self.done.append(("inject", script))


def asked(
    do: str, value: object = None, token: object = "secret"
) -> tuple[dict[str, object], list[tuple[object, ...]]]:
    gateway = Driven()
    line = json.dumps({"token": token, "do": do, "value": value}).encode() + b"\n"
    return json.loads(answer(line, "secret", gateway)), gateway.done


@pytest.mark.parametrize("do", COMMANDS)
def test_every_command_is_obeyed_and_answered_by_the_status(do: str) -> None:
    value = {"jump": 5.0, "speed": 2.0, "inject": "script"}.get(do)

    told, done = asked(do, value)

    assert told == {"status": {"now": 1.0, "speed": 2.0, "paused": False, "clients": 3, "account": "TEST"}}
    assert done == ([] if do == "status" else [(do,) if value is None else (do, value)])


@pytest.mark.parametrize("token", ["wrong", "", None, 7, "sécret", "\ud800", ["secret"]])
def test_without_the_token_nothing_is_done(token: object) -> None:
    told, done = asked("pause", token=token)

    assert "refused" in str(told["error"])
    assert done == []


@pytest.mark.parametrize(
    ("do", "value"),
    [("stop", None), ("jump", "now"), ("jump", None), ("speed", True), ("jump", 10**400), ("speed", -(10**4000))],
)
def test_what_cannot_be_done_is_named(do: str, value: object) -> None:
    told, done = asked(do, value)

    assert set(told) == {"error"}
    assert done == []


@given(st.binary(max_size=200))
def test_no_line_whatever_is_obeyed_or_breaks_the_control(line: bytes) -> None:
    gateway = Driven()

    assert "refused" in json.loads(answer(line, "secret", gateway))["error"]
    assert gateway.done == []


letters = st.characters(exclude_categories=())  # lone surrogates too: JSON can carry them
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(letters),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(letters), inner),
)


@given(values | st.just("secret"), st.sampled_from(sorted(COMMANDS)) | values, values)
def test_any_json_is_answered_by_a_line_of_json(token: object, do: object, value: object) -> None:
    line = json.dumps({"token": token, "do": do, "value": value}).encode()

    told = answer(line, "secret", Driven())

    assert told.endswith(b"\n")
    assert set(json.loads(told)) in ({"status"}, {"error"})


def test_deep_json_is_refused() -> None:
    assert b"refused" in answer(b"[" * 60_000, "secret", Driven())


# Over TCP


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayServer]:
    with running(SimulatedTape(seed=1), GatewayClock(NOON), control=True) as server:
        yield server


def driver(gateway: GatewayServer) -> GatewayControl:
    assert gateway.control is not None
    return GatewayControl(control.HOST, gateway.control.port, gateway.control.token)


def test_a_running_gateway_is_paused_set_and_let_go(gateway: GatewayServer) -> None:
    drive = driver(gateway)

    paused = drive.pause()
    assert (paused.paused, paused.account) == (True, "SIMULATED-1-R1")
    assert drive.jump(NOON + 3600).now == NOON + 3600
    assert drive.set_speed(50).speed == 50
    assert gateway.clock.now() == NOON + 3600
    assert not drive.resume().paused
    assert drive.status().now >= NOON + 3600


def test_what_the_gateway_refuses_is_raised_here(gateway: GatewayServer) -> None:
    with pytest.raises(GatewayError, match="speed 5000"):
        driver(gateway).set_speed(5000)
    with pytest.raises(GatewayError, match="no TOML"):
        driver(gateway).inject_script("[[")


def test_faults_are_injected(gateway: GatewayServer) -> None:
    driver(gateway).inject(Fault(When(after=1e6), Silence()))

    assert gateway.faults.next_due() is not None


@pytest.mark.parametrize(
    "request_line",
    [b"GET /?do=pause HTTP/1.1\r\nHost: localhost\r\n\r\n", b'{"do": "pause"}\n', b"x" * (control.LONGEST_LINE + 1)],
)
def test_a_web_page_or_a_stranger_cannot_drive_it(gateway: GatewayServer, request_line: bytes) -> None:
    assert gateway.control is not None
    with socket.create_connection((control.HOST, gateway.control.port), timeout=5) as stranger:
        stranger.sendall(request_line)
        try:
            told = stranger.recv(4096)
        except ConnectionResetError:
            told = b""

    assert told == b"" or b"refused" in told
    assert not gateway.clock.paused


def test_a_control_that_says_nothing_is_hung_up_on(gateway: GatewayServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0.05)
    assert gateway.control is not None
    address = (control.HOST, gateway.control.port)
    with socket.create_connection(address, timeout=5) as silent, suppress(ConnectionResetError):
        assert silent.recv(1) == b""


def test_it_listens_on_this_machine_only_whatever_the_gateway_does() -> None:
    with running(SimulatedTape(seed=1), host="0.0.0.0", control=True) as server:
        assert server.control is not None
        assert server.control._server is not None
        assert server.control._server.sockets[0].getsockname()[0] == "127.0.0.1"


def test_a_gateway_that_is_gone_is_named() -> None:
    with running(SimulatedTape(seed=1), control=True) as server:
        drive = driver(server)

    with pytest.raises(GatewayError, match="does not answer"):
        drive.status()


# Which gateways there are


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "workbench"


def file_of(gateway: GatewayServer) -> ControlFile:
    assert gateway.control is not None
    return ControlFile(gateway.control.port, gateway.control.token)


def test_the_control_of_a_gateway_is_found_by_its_port(own_folder: Path, gateway: GatewayServer) -> None:
    file_of(gateway).leave(gateway.port)

    assert GatewayControl.of(gateway.port).status().account == "SIMULATED-1-R1"
    with pytest.raises(GatewayError, match="no running gateway on port 1 is known"):
        GatewayControl.of(1)


def test_a_gateway_that_was_killed_is_not_among_those_that_run(own_folder: Path, gateway: GatewayServer) -> None:
    with running(SimulatedTape(seed=1), control=True) as killed:
        file_of(killed).leave(killed.port)
    file_of(gateway).leave(gateway.port)

    assert known_gateways() == [gateway.port]


def test_another_program_on_the_port_of_a_killed_gateways_control_is_no_gateway(
    own_folder: Path, gateway: GatewayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PROBE_S", 0.05)
    assert gateway.control is not None
    with socket.create_server((control.HOST, 0)) as silent:
        ControlFile(silent.getsockname()[1], "x").leave(1)  # takes connections, says nothing
        ControlFile(gateway.control.port, "another's token").leave(2)

        assert known_gateways() == []


@pytest.mark.parametrize("said", [b"", b"[]", b"null", b'{"status": 3}', b'{"status": {"now": 1}}', b"HTTP/1.1 400"])
def test_what_does_not_speak_as_a_gateway_does_not_answer(said: bytes) -> None:
    with socket.create_server((control.HOST, 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        speaking = Thread(target=speak)
        speaking.start()
        with pytest.raises(GatewayError, match="does not answer"):
            GatewayControl(control.HOST, server.getsockname()[1], "x").status()
        speaking.join()
