"""Driving a gateway while it runs: its clock, and faults.

One line of JSON asks, one answers, on a loopback port of its own; then the connection ends. A request carries the
token that the gateway made when it started. The token is handed over in a file that only its user can read, so
another user of the machine cannot drive the gateway; neither can a web page in a browser, which may reach the port
but knows no token: its `GET / HTTP/1.1` is no JSON, is refused and changes nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from workbench.errors import GatewayError
from workbench.gateway.faults import Fault

HOST = "127.0.0.1"
LONGEST_LINE = 64 << 10  # bytes; a script of faults is the longest that is sent
PATIENCE_S = 5.0  # how long either side waits for the other's line
MOST_AT_ONCE = 16  # connections; each asks once


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What a gateway does now; `now` is its time in epoch seconds."""

    now: float
    speed: float
    paused: bool
    clients: int
    account: str


class Controlled(Protocol):
    """What is driven: all of it runs on the gateway's own loop."""

    def status(self) -> GatewayStatus:
        """Return what the gateway does now."""

    def pause(self) -> None:
        """Let the clock stand."""

    def resume(self) -> None:
        """Let the clock go on."""

    def jump(self, to: float) -> None:
        """Set the clock."""

    def set_speed(self, speed: float) -> None:
        """Let the clock run at another speed."""

    def inject_script(self, script: str) -> None:
        """Let the faults of a script befall the gateway."""


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise GatewayError(f"{value!r} is no number")
    return float(value)


COMMANDS: Mapping[str, Callable[[Controlled, object], None]] = {
    "status": lambda _gateway, _value: None,
    "pause": lambda gateway, _value: gateway.pause(),
    "resume": lambda gateway, _value: gateway.resume(),
    "jump": lambda gateway, value: gateway.jump(_number(value)),
    "speed": lambda gateway, value: gateway.set_speed(_number(value)),
    "inject": lambda gateway, value: gateway.inject_script(str(value)),
}
"""What may be asked; each is answered by the status after it."""


def answer(line: bytes, token: str, gateway: Controlled) -> bytes:
    """Obey one line and return the line that answers it; whatever is wrong with it becomes an error there."""
    try:
        asked = _read(line, token)
        command = COMMANDS.get(str(asked.get("do")))
        if command is None:
            raise GatewayError(f"{asked.get('do')!r} is none of {', '.join(COMMANDS)}")
        command(gateway, asked.get("value"))
    except GatewayError as error:
        return _line({"error": str(error)})
    return _line({"status": asdict(gateway.status())})


def _read(line: bytes, token: str) -> Mapping[str, object]:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        asked = None
    offered = asked.get("token") if isinstance(asked, dict) else None
    if not isinstance(offered, str) or not hmac.compare_digest(offered.encode(), token.encode()):
        raise GatewayError("refused: no request with this gateway's token")
    return dict(asked)


def _line(values: Mapping[str, object]) -> bytes:
    return json.dumps(values).encode() + b"\n"


class ControlServer:
    """The port through which a gateway is driven."""

    def __init__(self, gateway: Controlled) -> None:
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.token = secrets.token_urlsafe(32)
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of this machine, whatever the gateway listens on."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=LONGEST_LINE)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if len(self._open) <= MOST_AT_ONCE:
                await self._converse(reader, writer)
        except (OSError, TimeoutError, ValueError):  # gone, silent, or a line that is too long
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(PATIENCE_S):
            line = await reader.readline()
            if line:
                writer.write(answer(line, self.token, self._gateway))
                await writer.drain()


class GatewayControl:
    """Drives a running gateway from any process of the user who started it.

        control = GatewayControl.of(4002)  # the gateway on port 4002 of this machine
        control.jump(parse_start("2026-11-20T15:55"))
        control.set_speed(50)

    Each method returns the status after it, and raises GatewayError when the gateway is not there or refuses.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self.host = host
        self.port = port
        self._token = token

    @classmethod
    def of(cls, gateway_port: int) -> GatewayControl:
        """Return the control of the gateway that listens on a port of this machine."""
        path = control_file(gateway_port)
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            return cls(HOST, int(known["port"]), str(known["token"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GatewayError(
                f"no running gateway on port {gateway_port} is known here ({path} is missing or unreadable). Start one "
                f"by `workbench gateway --port {gateway_port}`, as the same user."
            ) from error

    def status(self) -> GatewayStatus:
        """Return what the gateway does now."""
        return self._ask("status")

    def pause(self) -> GatewayStatus:
        """Let its clock stand: no bars come, nothing is due."""
        return self._ask("pause")

    def resume(self) -> GatewayStatus:
        """Let its clock go on from where it stands."""
        return self._ask("resume")

    def jump(self, to: float) -> GatewayStatus:
        """Set its clock to gateway time `to`, in epoch seconds.

        Ahead, live bars go on from there: what was skipped is in history only. Back, every client is hung up on, as
        when TWS restarts: no connection ever sees the same time twice.
        """
        return self._ask("jump", to)

    def set_speed(self, speed: float) -> GatewayStatus:
        """Let its clock run at another speed, 1000 times real time at most."""
        return self._ask("speed", speed)

    def inject(self, *faults: Fault) -> GatewayStatus:
        """Let faults befall it; their `after` counts from now."""
        from workbench.gateway.faults.script import format_faults

        return self.inject_script(format_faults(faults))

    def inject_script(self, script: str) -> GatewayStatus:
        """Let the faults of a script befall it, in the form of `--faults FILE`."""
        return self._ask("inject", script)

    def _ask(self, command: str, value: object = None) -> GatewayStatus:
        request = _line({"token": self._token, "do": command, "value": value})
        try:
            with socket.create_connection((self.host, self.port), timeout=PATIENCE_S) as connection:
                connection.sendall(request)
                told = json.loads(b"".join(iter(lambda: connection.recv(4096), b"")))
        except (OSError, ValueError) as error:
            raise GatewayError(f"the gateway's control on port {self.port} does not answer: {error}") from error
        if "error" in told:
            raise GatewayError(told["error"])
        return GatewayStatus(**told["status"])


def control_file(gateway_port: int) -> Path:
    """Return the file in which the gateway on a port leaves how it is driven."""
    return _folder() / f"gateway-{gateway_port}.json"


def _folder() -> Path:
    """Return a folder that is the user's own: that of the session where there is one, else in the home."""
    session = os.environ.get("XDG_RUNTIME_DIR")
    return Path(session, "workbench") if session else Path.home() / ".workbench" / "run"


def leave_control_file(gateway_port: int, control_port: int, token: str) -> Path:
    """Write the file, readable by its user only, and return where. Raises GatewayError."""
    path = control_file(gateway_port)
    text = json.dumps({"port": control_port, "token": token})
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a gateway that was killed; a file that another may read is never reused
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise GatewayError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def known_gateways() -> list[int]:
    """Return the ports of the gateways that left a file."""
    names: Iterable[Path] = _folder().glob("gateway-*.json")
    numbers = [path.stem.removeprefix("gateway-") for path in names]
    return sorted(int(number) for number in numbers if number.isdecimal())
