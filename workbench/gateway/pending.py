"""Historical answers that take time.

A gateway that answers at once has never two requests under way, and nothing to cancel. With a latency an answer
waits here, in gateway time, until it is due, is cancelled, or its client leaves.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from workbench.errors import GatewayError
from workbench.gateway.refusals import DUPLICATE_QUERY, TOO_MANY_SIMULTANEOUS, Refused

MOST_WAITING = 200
"""Answers of one client that may wait where no rule limits them: they are kept in memory."""
MOST_BYTES = 64 << 20
"""What the waiting answers of all clients may weigh together before no more is taken in."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a historical answer takes, in seconds of gateway time.

    >>> Latency(base_s=0.5, per_1000_bars_s=2.0).of(390)
    1.28
    """

    base_s: float = 0.0
    per_1000_bars_s: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(it) and it >= 0 for it in (self.base_s, self.per_1000_bars_s)):
            raise GatewayError(f"a latency of {self.base_s} s and {self.per_1000_bars_s} s a thousand bars cannot be")

    def of(self, bars: int) -> float:
        """Return the seconds that an answer of so many bars takes."""
        return self.base_s + self.per_1000_bars_s * bars / 1000


AT_ONCE = Latency()


class Answer(NamedTuple):
    """The bytes of an answer, when they are due, and whether its request ends with them."""

    due: float
    data: bytes
    ends: bool = True


class Pending:
    """The answers that wait."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, dict[int, Answer]] = {}

    def put(self, client: Hashable, req_id: int, answer: Answer) -> None:
        """Let an answer wait. `check` first."""
        self._waiting.setdefault(client, {})[req_id] = answer

    def check(self, client: Hashable, req_id: int) -> None:
        """Raise Refused when an answer of that id waits, or so many that none may be added."""
        mine = self._waiting.get(client, {})
        if req_id in mine:
            raise Refused(DUPLICATE_QUERY)
        if len(mine) >= MOST_WAITING or self._weight() >= MOST_BYTES:
            raise Refused(TOO_MANY_SIMULTANEOUS)

    def holds(self, client: Hashable, req_id: int) -> bool:
        """Return whether an answer of that id waits."""
        return req_id in self._waiting.get(client, {})

    def cancel(self, client: Hashable, req_id: int) -> None:
        """Drop an answer."""
        del self._waiting[client][req_id]

    def forget(self, client: Hashable) -> None:
        """Drop all answers of a client."""
        self._waiting.pop(client, None)

    def next_due(self) -> float | None:
        """Return the gateway time at which the next answer is due, or None when none waits."""
        return min((answer.due for mine in self._waiting.values() for answer in mine.values()), default=None)

    def _weight(self) -> int:
        return sum(len(answer.data) for mine in self._waiting.values() for answer in mine.values())

    def take(self, now: float) -> list[tuple[Hashable, int, Answer]]:
        """Take out what is due, in the order in which it became so: client, request id, answer."""
        due = [
            (answer.due, client, req_id)
            for client, mine in self._waiting.items()
            for req_id, answer in mine.items()
            if answer.due <= now
        ]
        due.sort(key=lambda it: it[0])
        return [(client, req_id, self._waiting[client].pop(req_id)) for _, client, req_id in due]
