"""Running a gateway: in this process until it is told to end, or on a thread for the length of a context."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypedDict, Unpack

from workbench.errors import GatewayError
from workbench.gateway.behaviour import Behaviour
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Fault
from workbench.gateway.handover import ControlFile
from workbench.gateway.pending import Latency
from workbench.gateway.rulebook import Rulebook
from workbench.gateway.server import HOST, GatewayServer
from workbench.gateway.tape import Tape

log = logging.getLogger(__name__)


class Options(TypedDict, total=False):
    """What a gateway may be given beside its tape, its clock and its address; `GatewayServer` says what it means."""

    faults: Iterable[Fault]
    rulebook: Rulebook | None
    rules_clock: Callable[[], float] | None
    latency: Latency
    behaviour: Behaviour | None
    control: bool


def serve(
    tape: Tape,
    clock: GatewayClock | None = None,
    host: str = HOST,
    port: int = 0,
    *,
    on_ready: Callable[[str, int], None],
    until_stdin_closes: bool = False,
    **options: Unpack[Options],
) -> None:
    """Run a gateway until SIGINT or SIGTERM; call `on_ready(host, port)` when it listens.

    With `until_stdin_closes` it also ends at the end of standard input: a process that was started by another with
    a pipe there ends with its parent, however that dies.

    Raises GatewayError when the address cannot be taken.
    """
    with suppress(KeyboardInterrupt):
        server = GatewayServer(tape, clock, host, port, **options)
        asyncio.run(_serve(server, on_ready, until_stdin_closes=until_stdin_closes))


async def _serve(server: GatewayServer, on_ready: Callable[[str, int], None], *, until_stdin_closes: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: there SIGINT is a KeyboardInterrupt
            loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        threading.Thread(target=_await_end_of_stdin, args=(loop, stop), daemon=True).start()
    await server.start()
    file = ControlFile(server.control.port, server.control.token) if server.control else None
    if file:
        _leave(file, server.port)
        server.on_move = partial(_leave, file)
    try:
        on_ready(server.host, server.port)
        await stop.wait()
    finally:
        if file:
            file.withdraw()
        await server.close()


def _leave(file: ControlFile, port: int) -> None:
    """Tell the user's other processes how the gateway on a port is driven; it works without."""
    try:
        file.leave(port)
    except GatewayError as error:
        log.warning("the gateway cannot be driven by `workbench control`: %s", error)


def _await_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Set `stop` at the end of standard input; read the descriptor, since `sys.stdin` would lock at exit."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    with suppress(RuntimeError):  # the loop has ended for another reason
        loop.call_soon_threadsafe(stop.set)


@contextmanager
def running(
    tape: Tape,
    clock: GatewayClock | None = None,
    host: str = HOST,
    port: int = 0,
    **options: Unpack[Options],
) -> Iterator[GatewayServer]:
    """Run a gateway on a thread of its own while the context lasts.

    with running(tape) as gateway:
        ib.connect(gateway.host, gateway.port)
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gateway", daemon=True)
    thread.start()
    server = GatewayServer(tape, clock, host, port, **options)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
