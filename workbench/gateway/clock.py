"""The gateway's own time: the real one, or one that starts anywhere, runs at another speed, pauses and jumps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from workbench.errors import GatewayError

MAX_SPEED = 1000.0
MAX_INSTANT = 4_102_444_800.0  # the year 2100: what lies beyond is a mistake, such as milliseconds


@dataclass(frozen=True, slots=True)
class Anchor:
    """A straight line in (real time, gateway time): where it was fixed, and its slope."""

    real: float
    gateway: float
    slope: float


class GatewayClock:
    """A clock in gateway time, epoch seconds.

    It is a straight line; to pause, to jump and to change the speed mean only a new anchor. Without `start` and at
    speed 1 it is the system's clock, until it is first set. It never goes back but by a jump, even where the real
    clock does.

    While a gateway serves by it, change it through the gateway's control (`control.py`): that tells the clients.

    >>> ticks = iter([100.0, 103.0])
    >>> clock = GatewayClock(1_000_000.0, speed=10, real=lambda: next(ticks))
    >>> clock.now()
    1000030.0
    """

    def __init__(
        self, start: float | None = None, speed: float = 1.0, *, real: Callable[[], float] = time.monotonic
    ) -> None:
        self.speed = _checked_speed(speed)
        self.paused = False
        begin = time.time() if start is None else _checked_instant(start, "start at")
        self._steady = real
        # The system's clock is corrected while it runs; a monotonic one would drift away from it.
        self._real = time.time if start is None and speed == 1 else real
        at = self._real()
        self._anchor = Anchor(at, at if self._real is time.time else begin, self.speed)
        self._latest = self._anchor.gateway

    def now(self) -> float:
        """Return the gateway's time in epoch seconds."""
        anchor = self._anchor
        self._latest = max(self._latest, anchor.gateway + (self._real() - anchor.real) * anchor.slope)
        return self._latest

    def real_seconds_until(self, instant: float) -> float:
        """Return how many real seconds pass until gateway time `instant`; 0 when it has passed.

        It is infinite for what lies ahead of a clock that is paused.
        """
        ahead = instant - self.now()
        if ahead <= 0:
            return 0.0
        return ahead / self.speed if not self.paused else math.inf

    def pause(self) -> None:
        """Stand still from now on."""
        self.paused = True
        self._fix(self.now())

    def resume(self) -> None:
        """Go on from where it stands."""
        at = self.now()
        self.paused = False
        self._fix(at)

    def set_speed(self, speed: float) -> None:
        """Run at another speed from now on; a paused clock stays paused. Raises GatewayError."""
        checked, at = _checked_speed(speed), self.now()
        self.speed = checked
        self._fix(at)

    def jump(self, to: float) -> None:
        """Go on from gateway time `to`, forth or back. Raises GatewayError."""
        self._fix(_checked_instant(to, "jump to"))

    def _fix(self, at: float) -> None:
        self._real = self._steady
        self._latest = at
        self._anchor = Anchor(self._real(), at, 0.0 if self.paused else self.speed)


def _checked_speed(speed: float) -> float:
    if not (math.isfinite(speed) and 0 < speed <= MAX_SPEED):
        raise GatewayError(f"speed {speed} is not above 0 and at most {MAX_SPEED:g}")
    return float(speed)


def _checked_instant(instant: float, verb: str) -> float:
    if not (math.isfinite(instant) and 0 <= instant < MAX_INSTANT):
        raise GatewayError(f"the clock cannot {verb} {instant}; give seconds since 1970, UTC")
    return float(instant)
