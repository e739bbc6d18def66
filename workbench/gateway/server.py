"""The gateway's sockets: a thin shell around `protocol.py`.

One read loop a client, and one task that sends the live bars when they are due. Nothing is decided here but how
much a client may leave unread.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from workbench.errors import GatewayError
from workbench.gateway.behaviour import Behaviour
from workbench.gateway.clock import GatewayClock
from workbench.gateway.control import ControlServer, GatewayStatus
from workbench.gateway.effects import ComeBack, Effect, GoAway, MovePort, Send
from workbench.gateway.faults import Fault
from workbench.gateway.faults.engine import FaultEngine, Order
from workbench.gateway.faults.script import parse_faults
from workbench.gateway.hours import hours, require_known
from workbench.gateway.peers import Peers
from workbench.gateway.pending import AT_ONCE, Latency
from workbench.gateway.protocol import GatewayConnection
from workbench.gateway.rulebook import Rulebook
from workbench.gateway.shared import Gateway
from workbench.gateway.tape import Tape

log = logging.getLogger(__name__)

READ_SIZE = 2048  # a score of requests: others get their turn before the next are answered
UNREAD_LIMIT = 16 << 20  # bytes that a client may leave unread before it is dropped
GRACE_S = 1.0  # how long closing waits until clients have read what was sent to them
HOST = "127.0.0.1"
HANDSHAKE_S = 10.0  # real seconds in which a stranger has to start
BACKLOG = 512  # connections that wait to be taken, all at once: with the strangers fewer than the usual 1024 files


class GatewayServer:
    """A gateway that listens on TCP."""

    def __init__(
        self,
        tape: Tape,
        clock: GatewayClock | None = None,
        host: str = HOST,
        port: int = 0,
        *,
        faults: Iterable[Fault] = (),
        rulebook: Rulebook | None = None,
        rules_clock: Callable[[], float] | None = None,
        latency: Latency = AT_ONCE,
        behaviour: Behaviour | None = None,
        control: bool = False,
    ) -> None:
        """Serve a tape. IB's limits are enforced as far as `rulebook` has them.

        Their windows run in gateway time, or by `rules_clock`, which returns seconds: `time.monotonic`. With `control`
        the gateway can be driven while it runs, see `control.py`.
        """
        self._script = tuple(faults)
        self.clock = clock or GatewayClock()
        self.faults = FaultEngine()
        self._fresh: Callable[[], Gateway] = lambda: Gateway(
            tape,
            self.faults,
            rulebook=rulebook,
            rules_time=_rules_time(rules_clock),
            real_time=_rules_time(time.monotonic),
            latency=latency,
            behaviour=behaviour,
        )
        self.control = ControlServer(self) if control else None
        self.gateway = self._fresh()
        self.host = host
        self.port = port
        """The port that is listened on; the one taken when 0 was asked for."""
        self.on_move: Callable[[int], None] = lambda _port: None
        """Told the new port when a fault has moved the gateway there."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moves: set[asyncio.Task[None]] = set()
        self.peers = Peers()
        self._wanted = asyncio.Event()
        self._sleeping_until = math.inf
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises GatewayError when the address cannot be taken, or the calendar does not know the time."""
        await asyncio.to_thread(hours)  # reading the calendar takes half a second; no request shall wait for it
        require_known(self.clock.now(), "start at")
        if not _is_loopback(self.host):
            log.warning("the gateway listens on %s: every machine that reaches it may connect", self.host)
        self._server = await self._listen(self.port)
        self._loop = asyncio.get_running_loop()
        if self.control:
            await self.control.start()
        for fault in self._script:  # from now on their time counts
            self.faults.inject(fault, self.clock.now())
        self._ticker = asyncio.create_task(self._keep_time())
        self._ticker.add_done_callback(_report)

    def inject(self, fault: Fault) -> None:
        """Let a fault befall the running gateway; any thread may call it. `When.after` counts from now.

        with running(tape) as gateway:
            gateway.inject(Fault(When(), ConnectivityLost(seconds=20)))
        """
        if self._loop is None:
            self._script += (fault,)
            return
        try:
            self._loop.call_soon_threadsafe(self._inject, fault)
        except RuntimeError as error:  # its loop is closed
            raise GatewayError("the gateway has ended; no fault can befall it") from error

    def inject_script(self, script: str) -> None:
        """Let the faults of a script befall the running gateway. Raises GatewayError."""
        for fault in parse_faults(script):
            self._inject(fault)

    def status(self) -> GatewayStatus:
        """Return what the gateway does now."""
        clock = self.clock
        return GatewayStatus(clock.now(), clock.speed, clock.paused, self.peers.started, self.gateway.tape.account)

    def pause(self) -> None:
        """Let the clock stand. This and what follows are for the gateway's own thread: others use `control`."""
        self.clock.pause()
        self._wanted.set()

    def resume(self) -> None:
        """Let the clock go on."""
        self.clock.resume()
        self._wanted.set()

    def set_speed(self, speed: float) -> None:
        """Let the clock run at another speed."""
        self.clock.set_speed(speed)
        self._wanted.set()

    def jump(self, to: float) -> None:
        """Set the clock: ahead, live bars go on from there; back, every client is hung up on. Raises GatewayError."""
        require_known(to, "jump to")
        before = self.clock.now()
        self.clock.jump(to)
        self.gateway.skip(to)
        if to < before:
            log.warning("the clock was set back: every client is hung up on")
            self.peers.hang_up()
        self._wanted.set()

    def _inject(self, fault: Fault) -> None:
        self.faults.inject(fault, self.clock.now())
        self._wanted.set()

    async def _listen(self, port: int) -> asyncio.Server:
        """Listen on a port and know its number."""
        try:
            server = await asyncio.start_server(self._serve, self.host, port, backlog=BACKLOG)
        except OSError as error:
            raise GatewayError(
                f"the gateway cannot listen on {self.host}:{port} ({error.strerror or error}). Is TWS, "
                "IB Gateway or another built-in gateway running there? Choose another port, or 0 for a free one."
            ) from error
        self.port = int(server.sockets[0].getsockname()[1])
        return server

    async def close(self) -> None:
        """Stop listening, hang up on every client and wait until all is done."""
        if self._server is None or self._ticker is None:
            return
        self._server.close()
        if self.control:
            await self.control.close()
        for task in (self._ticker, *self._moves):
            task.cancel()
        for end in (self.peers.hang_up, self.peers.abort):
            end()
            await self.peers.all_gone(GRACE_S)
        await self._server.wait_closed()
        with suppress(asyncio.CancelledError):
            await self._ticker

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = GatewayConnection(self.gateway)
        with self.peers.holding(connection, writer):
            try:
                async with asyncio.timeout(HANDSHAKE_S) as handshake:
                    await self._converse(connection, reader, writer, handshake)
            except TimeoutError:
                log.info("a client did not finish its handshake in %g s", HANDSHAKE_S)
            except OSError as error:
                log.info("a client is gone: %s", error)
            except asyncio.CancelledError:  # only the end of all does this, and asyncio 3.11 would complain of the task
                log.info("the gateway ends while a client is there")
            finally:
                connection.close()
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _converse(
        self,
        connection: GatewayConnection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handshake: asyncio.Timeout,
    ) -> None:
        while not writer.is_closing():
            data = b"" if connection.behind else await reader.read(READ_SIZE)
            if not data and not connection.behind:
                return
            now = self.clock.now()
            self._obey(self.faults.outgoing(connection, connection.receive(data, now), now))
            if self.peers.welcome(connection):
                handshake.reschedule(None)
            if self._next_due(now) < self._sleeping_until:
                self._wanted.set()
            if not writer.is_closing():
                await writer.drain()
            if connection.behind:
                await asyncio.sleep(0)  # the others' turn

    def _move(self, effect: Effect) -> None:
        """Do what the gateway itself is told: go away, come back, move to another port."""
        log.warning("the gateway obeys a fault: %s", effect)
        match effect:
            case GoAway() if self._server:
                self._server.close()
                self.peers.abort()
            case ComeBack():
                self.gateway = self._fresh()
                self._spawn(self._listen_again())
            case MovePort(port=port):
                self._spawn(self._listen_elsewhere(port))

    def _spawn(self, move: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(move)
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)
        task.add_done_callback(_report)

    async def _listen_again(self) -> None:
        self._server = await self._listen(self.port)

    async def _listen_elsewhere(self, port: int) -> None:
        """Listen on another port, where it is free; the clients are told and ended either way."""
        before = self._server
        try:
            self._server = await self._listen(port)
        except GatewayError as error:
            log.warning("the gateway stays where it is: %s", error)
        else:
            if before:
                before.close()
            port = self.port
            log.warning("the gateway listens on %s:%d from now on", self.host, port)
            self.on_move(port)
        self._obey(self.faults.moved(port, self.clock.now()))

    async def _keep_time(self) -> None:
        """Do what is due when it is due; `_wanted` wakes it when something earlier has come up."""
        while True:
            self._sleeping_until = self._next_due(self.clock.now())
            self._wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._real_seconds(self._sleeping_until)):
                    await self._wanted.wait()
            now = self.clock.now()
            for connection, data in self.gateway.tick(now):
                self._obey(self.faults.outgoing(connection, [Send(data)], now), limit=UNREAD_LIMIT)
            self._obey(self.faults.tick(now))

    def _next_due(self, now: float) -> float:
        """Return the gateway time at which something is due; infinity when nothing is."""
        return min(
            (due for due in (self.gateway.next_due(now), self.faults.next_due()) if due is not None),
            default=math.inf,
        )

    def _real_seconds(self, due: float) -> float | None:
        seconds = math.inf if due == math.inf else self.clock.real_seconds_until(due)
        return None if seconds == math.inf else seconds

    def _obey(self, orders: Iterable[Order], limit: float = math.inf) -> None:
        """Do to each client what the pure parts say; drop one that leaves more than `limit` bytes unread."""
        for connection, effect in orders:
            if connection is None:
                self._move(effect)
            else:
                self.peers.obey(connection, effect, limit)


def _rules_time(real: Callable[[], float] | None) -> Callable[[float], float]:
    """Return the time of the rules as a function of gateway time: that time itself, or a clock of their own."""
    return float if real is None else lambda _now: real()


def _report(ticker: asyncio.Task[None]) -> None:
    """Say at once that a task of the gateway has stopped; `close` raises the ticker's error."""
    if not ticker.cancelled() and (error := ticker.exception()):
        log.critical("the gateway has stopped: live bars, or its listening", exc_info=error)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
