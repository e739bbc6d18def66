"""One forming bar: what of it has come so far."""

from __future__ import annotations

from math import nan


class Forming:
    """A bar over `[start, end)`, in epoch seconds, as far as it has come; empty while `received` is 0."""

    __slots__ = (
        "close", "count", "end", "high", "low", "open", "plain", "plains", "received", "start", "traded", "volume",
        "weighted",
    )  # fmt: skip

    def __init__(self) -> None:
        self.reset(0, 0)

    def reset(self, start: int, end: int) -> None:
        """Begin anew, with nothing received."""
        self.start, self.end, self.received = start, end, 0
        self.open = self.high = self.low = self.close = nan
        self.traded = False
        self.volume = self.weighted = self.plain = self.count = 0.0
        self.plains = 0

    @property
    def average(self) -> float:
        """The volume-weighted price; without volume the mean of the averages of what counts."""
        if self.volume > 0:
            return self.weighted / self.volume
        return self.plain / self.plains if self.plains else nan

    def absorb(self, part: Forming) -> None:
        """Add a shorter bar that follows what has come so far."""
        if not part.received:
            return
        if not self.received or part.traded > self.traded:
            self.open, self.high, self.low, self.close = part.open, part.high, part.low, part.close
            self.traded, self.plain, self.plains = part.traded, part.plain, part.plains
        elif part.traded == self.traded:
            if part.high > self.high:
                self.high = part.high
            if part.low < self.low:
                self.low = part.low
            self.close = part.close
            self.plain, self.plains = self.plain + part.plain, self.plains + part.plains
        self.volume += part.volume
        self.weighted += part.weighted
        self.count += part.count
        self.received += part.received
