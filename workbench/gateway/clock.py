"""The gateway's own time: the real one, or one that starts anywhere and runs at another speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from workbench.errors import GatewayError

MAX_SPEED = 1000.0


class GatewayClock:
    """A clock in gateway time, epoch seconds.

    It is a straight line from an anchor (gateway time, real time) with a slope, the speed: pausing and jumping
    mean only a new anchor. Without `start` and at speed 1 it is the system's clock.

    >>> ticks = iter([100.0, 103.0])
    >>> clock = GatewayClock(1_000_000.0, speed=10, real=lambda: next(ticks))
    >>> clock.now()
    1000030.0
    """

    def __init__(
        self, start: float | None = None, speed: float = 1.0, *, real: Callable[[], float] = time.monotonic
    ) -> None:
        if not (math.isfinite(speed) and 0 < speed <= MAX_SPEED):
            raise GatewayError(f"speed {speed} is not above 0 and at most {MAX_SPEED:g}")
        if start is not None and not (math.isfinite(start) and start >= 0):
            raise GatewayError(f"the clock cannot start at {start}; give seconds since 1970, UTC")
        self.speed = float(speed)
        # The system's clock is corrected while it runs; a monotonic one would drift away from it.
        self._real = time.time if start is None and speed == 1 else real
        self._real_anchor = self._real()
        self._anchor = float(start) if start is not None else time.time()
        if self._real is time.time:
            self._anchor = self._real_anchor

    def now(self) -> float:
        """Return the gateway's time in epoch seconds."""
        return self._anchor + (self._real() - self._real_anchor) * self.speed

    def real_seconds_until(self, instant: float) -> float:
        """Return how many real seconds pass until gateway time `instant`; 0 when it has passed."""
        return max(0.0, (instant - self.now()) / self.speed)
