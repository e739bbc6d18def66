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
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Protocol

from workbench.errors import GatewayError
from workbench.gateway.faults import Fault
from workbench.gateway.handover import left_ports, read_control_file

HOST = "127.0.0.1"
LONGEST_LINE = 64 << 10  # bytes; a script of faults is the longest that is sent
PATIENCE_S = 5.0  # how long either side waits for the other's line
PROBE_S = 2.0  # how long a gateway is waited for that may have been killed
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
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number of JSON has any length
        number = math.inf
    if not math.isfinite(number):
        raise GatewayError(f"{str(value)[:40]!r} is no number")
    return number


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
            raise GatewayError(f"{str(asked.get('do'))[:40]!r} is none of {', '.join(COMMANDS)}")
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
    if not isinstance(offered, str) or not hmac.compare_digest(_bytes(offered), _bytes(token)):
        raise GatewayError("refused: no request with this gateway's token")
    return dict(asked)


def _bytes(text: str) -> bytes:
    """Return any text of JSON as bytes, lone surrogates too."""
    return text.encode(errors="surrogatepass")


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

    def __init__(self, host: str, port: int, token: str, *, patience_s: float = PATIENCE_S) -> None:
        self.host = host
        self.port = port
        self._token = token
        self._patience_s = patience_s

    @classmethod
    def of(cls, gateway_port: int, *, patience_s: float = PATIENCE_S) -> GatewayControl:
        """Return the control of the gateway that listens on a port of this machine."""
        port, token = read_control_file(gateway_port)
        return cls(HOST, port, token, patience_s=patience_s)

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
            with socket.create_connection((self.host, self.port), timeout=self._patience_s) as connection:
                connection.sendall(request)
                told = json.loads(b"".join(iter(lambda: connection.recv(4096), b"")))
            refusal, status = told.get("error"), told.get("status") or {}
            if not refusal:
                return GatewayStatus(**status)
        except (OSError, ValueError, TypeError, AttributeError) as error:  # gone, or its port is another's by now
            raise GatewayError(
                f"the gateway's control on port {self.port} does not answer: {error}. The gateway has ended, or was "
                "killed; start one by `workbench gateway`."
            ) from error
        raise GatewayError(str(refusal))


def known_gateways() -> list[int]:
    """Return the ports of the gateways that run here and can be driven: those that left a file and answer."""
    return [port for port in left_ports() if _answers(port)]


def _answers(gateway_port: int) -> bool:
    try:
        GatewayControl.of(gateway_port, patience_s=PROBE_S).status()
    except GatewayError:  # killed: its port is closed, or another's by now
        return False
    return True
