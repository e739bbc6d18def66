"""The sockets of a gateway's clients: who is there, and what is done to them.

A stranger is a connection that has not started. Strangers have few places and little time, so nobody keeps clients out
by connecting and saying nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from workbench.gateway.effects import Effect, Hangup, Ignored, Reset, Send
from workbench.gateway.protocol import GatewayConnection

log = logging.getLogger(__name__)

MOST_STRANGERS = 256  # one more drops the oldest of them


class Peers:
    """All connections of one gateway."""

    def __init__(self) -> None:
        self._writers: dict[object, asyncio.StreamWriter] = {}
        self._strangers: dict[object, asyncio.StreamWriter] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._writers)

    @contextmanager
    def holding(self, connection: GatewayConnection, writer: asyncio.StreamWriter) -> Iterator[None]:
        """Know a connection, a stranger at first, as long as the context lasts."""
        self._writers[connection] = self._strangers[connection] = writer
        self._empty.clear()
        if len(self._strangers) > MOST_STRANGERS:  # the one that has kept its place longest without a word
            self._strangers.pop(next(iter(self._strangers))).transport.abort()
        try:
            yield
        finally:
            self._strangers.pop(connection, None)
            del self._writers[connection]
            if not self._writers:
                self._empty.set()

    def welcome(self, connection: GatewayConnection) -> bool:
        """Let a connection that has started be a stranger no more; return whether it was one."""
        return connection.has_started and self._strangers.pop(connection, None) is not None

    @property
    def started(self) -> int:
        """The number of clients that have told their id."""
        return sum(isinstance(it, GatewayConnection) and it.has_started for it in self._writers)

    def hang_up(self) -> None:
        """Close every connection once what was sent has gone."""
        for writer in self._writers.values():
            writer.close()

    def abort(self) -> None:
        """Close every connection at once."""
        for writer in self._writers.values():
            writer.transport.abort()

    async def all_gone(self, seconds: float) -> None:
        """Wait until every client's task has ended, at most some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    def obey(self, connection: object, effect: Effect, limit: float = math.inf) -> None:
        """Do to a client what the pure parts say; drop one that leaves more than `limit` bytes unread."""
        writer = self._writers.get(connection)
        if writer is None or writer.is_closing():
            return
        match effect:
            case Send(data=out):
                writer.write(out)
                if writer.transport.get_write_buffer_size() > limit:
                    log.warning("dropped a client that left more than %d bytes unread", limit)
                    writer.transport.abort()
            case Ignored(message=message):
                log.info("ignored a message: %r", message)
            case Hangup(reason=reason):
                log.warning("hung up on a client: %s", reason)
                writer.close()
            case Reset(reason=reason):
                log.warning("reset a client's connection: %s", reason)
                _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST: a socket that may not linger forgets what it has not delivered."""
    linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
