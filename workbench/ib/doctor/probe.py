"""What listens at an address: a gateway of IB's, something else, or nothing. Found out without ib_insync.

ib_insync waits its whole time-out for a port that speaks HTTP as for one that is silent. Here the greeting of IB's
protocol is sent by hand, and the first bytes of the answer tell.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

OLDEST_VERSION, NEWEST_VERSION = 157, 176
"""Server versions that ib_insync speaks; 157 is that of TWS 972."""

_VERSIONS = b"v%d..%d" % (OLDEST_VERSION, NEWEST_VERSION)
_GREETING = b"API\0" + len(_VERSIONS).to_bytes(4, "big") + _VERSIONS
_ANSWER = re.compile(rb"(\d{1,5})\0([^\0]*)\0", re.DOTALL)
_PROMPTED_S = 1.0
_LONGEST = 256  # bytes; the answer is a number and a time


class Found(Enum):
    """What became of the greeting."""

    GATEWAY = auto()
    REFUSED = auto()
    UNREACHABLE = auto()
    UNKNOWN_HOST = auto()
    SILENT = auto()
    HUNG_UP = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Probe:
    """What listens at an address. `version` and `told_time` are a gateway's answer; `text` what else was said."""

    found: Found
    version: int = 0
    told_time: str = ""
    text: str = ""

    @property
    def zone(self) -> str:
        """The time zone of TWS, as it words it."""
        return " ".join(self.told_time.split()[2:])


def read_answer(data: bytes) -> Probe | None:
    r"""Return what the first bytes of an answer tell; None while they may become a gateway's.

    >>> read_answer(b"\0\0\0\x11176\x0020261120 UTC\x00")
    Probe(found=<Found.GATEWAY: 1>, version=176, told_time='20261120 UTC', text='')
    >>> read_answer(b"HTTP/1.1 400 Bad Request\r\n").text
    'HTTP/1.1 400 Bad Request'
    """
    if not data.startswith(b"\0\0\0"[: len(data)]):
        return Probe(Found.OTHER, text=_shown(data))
    if len(data) < 4 or len(data) < 4 + data[3]:
        return None
    answer = _ANSWER.fullmatch(data[4 : 4 + data[3]])
    if answer is None:
        return Probe(Found.OTHER, text=_shown(data))
    return Probe(Found.GATEWAY, int(answer[1]), answer[2].decode(errors="replace"))


async def probe(host: str, port: int, timeout_s: float) -> Probe:
    """Greet whoever listens, and hang up."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Probe(Found.UNREACHABLE)
    except ConnectionRefusedError:
        return Probe(Found.REFUSED)
    except OSError as error:  # of getaddrinfo too
        return Probe(Found.UNKNOWN_HOST if isinstance(error, socket.gaierror) else Found.UNREACHABLE, text=str(error))
    try:
        try:
            async with asyncio.timeout(timeout_s):
                return await _greeted(reader, writer)
        except TimeoutError:
            return await _prompted(reader, writer)
    except OSError as error:
        return Probe(Found.HUNG_UP, text=str(error))
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Probe:
    writer.write(_GREETING)
    data = b""
    while len(data) <= _LONGEST:
        more = await reader.read(_LONGEST)
        if not more:
            return Probe(Found.OTHER, text=_shown(data)) if data else Probe(Found.HUNG_UP)
        data += more
        if (told := read_answer(data)) is not None:
            return told
    return Probe(Found.OTHER, text=_shown(data))


async def _prompted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Probe:
    """Return who it is that said nothing to the greeting: a web server waits for the end of a line."""
    writer.write(b"\r\n\r\n")
    try:
        async with asyncio.timeout(_PROMPTED_S):
            said = await reader.read(_LONGEST)
    except TimeoutError:
        return Probe(Found.SILENT)
    return Probe(Found.OTHER, text=_shown(said)) if said else Probe(Found.SILENT)


def _shown(data: bytes) -> str:
    """Return the first line of what was said, readable whatever it is."""
    line = data.splitlines()[0] if data.splitlines() else data
    return "".join(letter if letter.isprintable() else "." for letter in line[:60].decode("latin-1"))
