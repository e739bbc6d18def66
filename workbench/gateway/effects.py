"""What the pure parts of the gateway tell the shell to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the connection after what was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reset:
    """End the connection at once, by an RST; what was not yet delivered is lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that means nothing to the gateway; worth a line in the log."""

    message: str


@dataclass(frozen=True, slots=True)
class GoAway:
    """End every connection and refuse new ones."""


@dataclass(frozen=True, slots=True)
class ComeBack:
    """Listen again, knowing nobody."""


@dataclass(frozen=True, slots=True)
class MovePort:
    """Listen on another port (0: any free one), tell every client, and end their connections."""

    port: int


Effect = Send | Hangup | Reset | Ignored | GoAway | ComeBack | MovePort
