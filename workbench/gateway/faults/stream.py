"""Faults of bytes and of messages: how one message goes out, or what becomes of it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

from workbench.errors import GatewayError
from workbench.gateway import effects
from workbench.gateway.faults.connectivity import REASONS, about
from workbench.gateway.refusals import Notice
from workbench.gateway.wire import PREFIX, fields, frame, join

FOR_EVER = math.inf


def require(holds: bool, what: str) -> None:  # noqa: FBT001
    """Raise GatewayError saying `what` when a value cannot be used."""
    if not holds:
        raise GatewayError(what)


def length_of_time(seconds: float) -> float:
    """Return the seconds when they are a length of time."""
    require(seconds >= 0, f"seconds is {seconds}; give a length of time, or inf for ever")
    return seconds


def is_code(code: int) -> bool:
    """Return whether a client can read a number as the code of an error."""
    return 0 < code < 1 << 31


class Piece(NamedTuple):
    """What is done to a connection, and how many seconds after what went before."""

    effect: effects.Effect
    gap: float = 0.0


# Bytes: `pieces` says how one frame goes out.


@dataclass(frozen=True, slots=True)
class Dribble:
    """Send byte by byte, one `every` so many seconds."""

    every: float = 0.001

    def pieces(self, data: bytes) -> list[Piece]:
        """Return a piece a byte."""
        return Split(1, self.every).pieces(data)


@dataclass(frozen=True, slots=True)
class Split:
    """Send in pieces of `size` bytes, one `every` so many seconds."""

    size: int = 7
    every: float = 0.0

    def __post_init__(self) -> None:
        require(self.size >= 1, f"size is {self.size}; a piece has at least one byte")
        require(0 <= self.every < math.inf, f"every is {self.every}; give seconds")

    def pieces(self, data: bytes) -> list[Piece]:
        """Return the pieces."""
        cuts = range(0, len(data), self.size)
        return [Piece(effects.Send(data[at : at + self.size]), self.every if at else 0.0) for at in cuts]


def _share(keep: float) -> None:
    require(0 <= keep <= 1, f"keep is {keep}; give the share of the message that is sent, 0 to 1")


@dataclass(frozen=True, slots=True)
class Truncate:
    """Cut a message short: only the share `keep` of it is sent.

    An honest prefix tells the length that comes; the other one the length that should have come, so the client reads
    on into the next message.
    """

    keep: float = 0.5
    honest: bool = True

    def __post_init__(self) -> None:
        _share(self.keep)

    def pieces(self, data: bytes) -> list[Piece]:
        """Return the message without its end."""
        payload = data[PREFIX : PREFIX + int((len(data) - PREFIX) * self.keep)]
        return [Piece(effects.Send(frame(payload) if self.honest else data[:PREFIX] + payload))]


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send `size` random bytes before the message, always the same for a seed."""

    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.size <= 1 << 20, f"size is {self.size}; up to a million bytes are sent")

    def pieces(self, data: bytes) -> list[Piece]:
        """Return the noise, then the message."""
        return [Piece(effects.Send(random.Random(self.seed).randbytes(self.size))), Piece(effects.Send(data))]


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Send the message with a length prefix that is off `by` so many bytes."""

    by: int = 1000

    def pieces(self, data: bytes) -> list[Piece]:
        """Return the message with another prefix."""
        length = min(max(0, len(data) - PREFIX + self.by), 0xFFFFFFFF)
        return [Piece(effects.Send(length.to_bytes(PREFIX, "big") + data[PREFIX:]))]


@dataclass(frozen=True, slots=True)
class Stall:
    """Send nothing for so many seconds, with the socket open; then go on."""

    seconds: float = FOR_EVER

    def pieces(self, data: bytes) -> list[Piece]:
        """Return the message, late."""
        return [Piece(effects.Send(data), length_of_time(self.seconds))]


def _begin(data: bytes, share: float) -> list[Piece]:
    kept = data[: int(len(data) * share)]
    return [Piece(effects.Send(kept))] if kept else []


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection after the share `keep` of the message."""

    keep: float = 1.0

    def __post_init__(self) -> None:
        _share(self.keep)

    def pieces(self, data: bytes) -> list[Piece]:
        """Return the message's begin, then the end."""
        return [*_begin(data, self.keep), Piece(effects.Hangup("a fault closes it"))]


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (RST) after the share `keep` of the message."""

    keep: float = 0.0

    def __post_init__(self) -> None:
        _share(self.keep)

    def pieces(self, data: bytes) -> list[Piece]:
        """Return the message's begin, then the end."""
        return [*_begin(data, self.keep), Piece(effects.Reset("a fault resets it"))]


# Messages: `alter` says what becomes of one payload.


@dataclass(frozen=True, slots=True)
class Drop:
    """Lose the message."""

    def alter(self, payload: bytes) -> list[bytes]:  # noqa: ARG002
        """Return nothing."""
        return []


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Deliver the message `times` more."""

    times: int = 1

    def __post_init__(self) -> None:
        require(1 <= self.times <= 1000, f"times is {self.times}; 1 to 1000 more are delivered")

    def alter(self, payload: bytes) -> list[bytes]:
        """Return the message and its copies."""
        return [payload] * (1 + self.times)


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Replace field number `field` (0 is the message's id, -1 the last) by `text`."""

    field: int
    text: str = ""

    def alter(self, payload: bytes) -> list[bytes]:
        """Return the message with another field; one that it has not is left alone."""
        texts = fields(payload)
        if -len(texts) <= self.field < len(texts):
            texts[self.field] = self.text
        return [join(texts)]


@dataclass(frozen=True, slots=True)
class Delay:
    """Deliver the message so many seconds late; others overtake it."""

    seconds: float = 1.0

    def __post_init__(self) -> None:
        length_of_time(self.seconds)


@dataclass(frozen=True, slots=True)
class Reorder:
    """Swap the message with the next; when none comes within some seconds it goes alone."""

    within: float = 1.0

    def __post_init__(self) -> None:
        length_of_time(self.within)


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse a request: for a reason that has a name in `connectivity.REASONS`, or with any code and text.

    `{symbol}` in the text is the request's. Where a code is given the reason is not looked at.
    """

    reason: str = "pacing"
    code: int = 0
    text: str = ""

    def __post_init__(self) -> None:
        require(
            self.reason in REASONS, f"reason {self.reason!r} is none of {', '.join(REASONS)}; or give code and text"
        )
        require(bool(self.code) or not self.text, f"the text {self.text!r} needs a code, for example 354")
        require(not self.code or is_code(self.code), f"code is {self.code}; IB's codes are positive")

    def notice(self, symbol: str) -> Notice:
        """Return what the client is told of a request for a symbol."""
        return about(Notice(self.code, self.text) if self.code else REASONS[self.reason], symbol)
