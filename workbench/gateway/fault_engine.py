"""The faults at work: a pure engine between the protocol and the shell.

The protocol hands in each message that arrives (`received`), the shell everything that leaves (`outgoing`), and what
comes back is to be obeyed. Nothing waits here: what is to happen later has a time, and `tick` returns it then.
Without faults an outgoing message passes through untouched and unread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from workbench.gateway.effects import Effect

Order = tuple["Client | None", Effect]
"""An effect and whom it is for; None is the gateway itself."""


class Client(Protocol):
    """What the engine knows of a connection."""

    version: int

    def take(self, texts: list[str], now: float) -> Iterator[Effect]:
        """Answer a message that has passed."""


class FaultEngine:
    """All faults of one gateway, and what they have done to each of its connections."""

    def received(self, client: Client, texts: list[str], now: float) -> Iterator[Effect]:
        """Take a message's fields; hand on what passes and return what it is answered."""
        yield from client.take(texts, now)

    def outgoing(self, client: Client, effects: Iterable[Effect], now: float) -> list[Order]:  # noqa: ARG002
        """Take what is for a client; return what is to be done now, for it or for anyone."""
        return [(client, effect) for effect in effects]

    def tick(self, now: float) -> list[Order]:  # noqa: ARG002
        """Return what is due at `now`."""
        return []

    def next_due(self) -> float | None:
        """Return the gateway time at which something may be due, or None."""
        return None

    def forget(self, client: Client) -> None:
        """Forget a client that has gone."""
