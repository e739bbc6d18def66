"""The gateway driven from the command line, in processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.gateway.control import GatewayControl
from workbench.gateway.faults import Fault, PortReset, When
from workbench.gateway.process import GatewayProcess, replay
from workbench.gateway.wire import GREETING, encode, frame

START = "2026-11-20T09:30"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "workbench"


@pytest.fixture
def gateway() -> Iterator[GatewayProcess]:
    process = replay(start=START, speed=2)
    yield process
    process.close()


def workbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workbench", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_replayed_session_is_paused_set_and_let_go_from_the_command_line(gateway: GatewayProcess) -> None:
    assert "paused" in workbench("control", "pause").stdout

    jumped = workbench("control", "jump", "2026-11-20T15:55", "--port", str(gateway.port))
    faster = workbench("control", "speed", "50")

    assert jumped.stdout == "SIMULATED-1-R1 · Fri 2026-11-20 15:55:00 New York, paused · clients: 0\n"
    assert (jumped.returncode, faster.returncode) == (0, 0)
    assert gateway.control.status().speed == 50
    assert "at 50 times real time" in workbench("control", "resume").stdout


IMPOSSIBLE = {
    "fly": "'fly' is none of status, pause",
    "jump": "jump takes a time after it",
    "jump noon": "write exchange time",
    "speed fast": "is no number",
    "speed 5000": "at most 1000",
    "inject nowhere.toml": "cannot be read",
}


def test_what_cannot_be_done_is_one_sentence(gateway: GatewayProcess) -> None:
    for line, words in IMPOSSIBLE.items():
        done = workbench("control", *line.split())

        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert words in done.stderr


def test_faults_are_injected_from_a_file(gateway: GatewayProcess, tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nwhen = { after = 1000 }\naction = { do = "silence" }\n')

    assert workbench("control", "inject", str(script)).returncode == 0


def test_without_a_gateway_it_is_said_how_to_start_one() -> None:
    done = workbench("control", "status")

    assert done.returncode == 1
    assert "Start one by `workbench gateway --port 4002`" in done.stderr


def test_of_several_gateways_one_has_to_be_chosen_and_an_end_leaves_no_file(own_folder: Path) -> None:
    first, second = replay(start=START), replay(start=START)
    try:
        assert "several gateways run here" in workbench("control", "status").stderr
        assert GatewayControl.of(second.port).status().account == "SIMULATED-1-R1"
    finally:
        first.close()
        second.close()

    assert list(own_folder.iterdir()) == []


def test_a_killed_gateway_is_neither_offered_nor_in_the_way_of_one_that_runs(own_folder: Path) -> None:
    killed, alive = replay(start=START), replay(start=START)
    try:
        killed._process.kill()
        killed._process.wait()
        assert len(list(own_folder.iterdir())) == 2

        assert "clients: 0" in workbench("control", "status").stdout
        told = workbench("control", "status", "--port", str(killed.port)).stderr
        assert "The gateway has ended, or was killed" in told
    finally:
        alive.close()
        killed.close()


def test_after_a_port_reset_the_gateway_is_driven_by_its_new_port(gateway: GatewayProcess, own_folder: Path) -> None:
    before = gateway.port
    with socket.create_connection((gateway.host, before), timeout=20) as client:
        client.sendall(GREETING + frame(b"v157..176") + encode(71, 2, 1, None))
        gateway.control.inject(Fault(When(after=1), PortReset()))
        while client.recv(4096):
            pass  # until it is hung up on: the gateway has moved

    (file,) = own_folder.iterdir()

    after = int(file.stem.removeprefix("gateway-"))
    assert after != before
    assert "SIMULATED-1-R1" in workbench("control", "status").stdout
    assert GatewayControl.of(after).status().account == "SIMULATED-1-R1"


def test_an_embedded_gateway_is_driven_by_nobody_unless_it_is_meant_to(own_folder: Path) -> None:
    process = GatewayProcess()
    process.close()

    assert not own_folder.exists()


@pytest.mark.parametrize("arguments", [["--rules", "on"], ["--rules-clock", "utc"], ["--rules", "ib", "--lines", "0"]])
def test_rules_that_do_not_exist_are_refused(arguments: list[str]) -> None:
    done = workbench("gateway", "--port", "0", *arguments)

    assert done.returncode == 1
    assert "error: " in done.stderr


def test_the_limits_of_ib_are_enforced_when_the_command_says_so() -> None:
    import asyncio

    async def conversation(port: int) -> list[int]:
        from ib_insync import IB, Stock

        ib, codes = IB(), []
        await ib.connectAsync("127.0.0.1", port, clientId=1, timeout=5, readonly=True)
        ib.errorEvent += lambda _, code, *__: codes.append(code)
        for _ in range(2):
            await ib.reqHistoricalDataAsync(Stock("AAPL", "SMART", "USD"), "", "1800 S", "5 secs", "TRADES", True)
        ib.disconnect()
        await asyncio.sleep(0.01)
        return codes

    process = GatewayProcess(["--start", "2026-11-20T12:00", "--rules", "ib", "--rules-clock", "real"])
    try:
        assert asyncio.run(conversation(process.port)) == [162]
    finally:
        process.close()


def test_the_help_shows_examples() -> None:
    shown = " ".join(workbench("control", "--help").stdout.split())

    assert "Example: workbench control jump 2026-11-20T15:55" in shown
