"""A tape whose history differs slightly from what was streamed, as IB's does.

IB corrects the past: late prints come in, others are filtered out. What is streamed here is the tape; what history
tells has, by two rules that are seeded and the same whenever it is asked:

* the volume of each session is scaled by one factor within `1 - rate .. 1 + rate`, a multiple of 1/4096;
* of every 40 neighbouring prices of a session two become one, so now and then a price is a tick lower.

Both rules commute with making long bars of short ones, so history still agrees with itself to the last bit in every
bar size, and a revised bar costs no more than a plain one: sums of multiples of 1/4096 are exact, and a rule that keeps
the order of prices keeps what is first, highest, lowest and last. Averages stay as they were, but within their bar's
low and high; so those of short bars make that of a long one to a tick only.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway import noise
from workbench.gateway.hours import hours
from workbench.gateway.retold import OverTape, Retelling, inside
from workbench.gateway.tape import DAY, BarColumns, Floats, Seconds, Tape, streamed, told

GRAIN = 4096
PERIOD = 40  # neighbouring prices of which two become one
HIGHEST_RATE = 0.2


class RevisedTape(Retelling):
    """A tape whose history is not exactly what it streamed."""

    def __init__(self, tape: Tape, rate: float, *, seed: int = 1) -> None:
        if not (math.isfinite(rate) and 1 / GRAIN <= rate <= HIGHEST_RATE):
            raise GatewayError(f"volumes cannot be revised by {rate}; give a share from {1 / GRAIN} to {HIGHEST_RATE}")
        super().__init__(tape, f"{tape.account}-REVISED")
        self._rate = rate
        self._seed = seed
        self._ticks = {instrument.key: instrument.min_tick for instrument in tape.instruments}

    def streamed(self, now: float) -> Tape:
        """Return the tape as its live bars are sent at `now`."""
        return streamed(self._tape, now)

    def told(self, now: float) -> Tape:
        """Return the tape as history tells it at `now`."""
        return _Revised(told(self._tape, now), self._rate, self._seed, self._ticks)


class _Revised(OverTape):
    """A tape as it was revised."""

    def __init__(self, tape: Tape, rate: float, seed: int, ticks: dict[str, float]) -> None:
        super().__init__(tape, tape.account)
        self._rate = rate
        self._seed = seed
        self._ticks = ticks

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds whose start lies in `[begin, end)`, in epoch seconds."""
        return self._revised(self._tape.bars(symbol, step, begin, end, use_rth=use_rth), symbol, step)

    def _revised(self, bars: BarColumns, symbol: str, step: int) -> BarColumns:
        key = noise.keys(noise.root(self._seed, f"revised {symbol}"), _session(bars.start, step))
        scale = np.rint((2 * noise.uniforms(noise.keys(key, 1)) - 1) * self._rate * GRAIN) / GRAIN
        lowered = (noise.keys(key, 2) % np.uint64(PERIOD)).astype(np.int64)
        tick = self._ticks[symbol]
        low, high = _merged(bars.low, lowered, tick), _merged(bars.high, lowered, tick)
        return replace(
            bars,
            open=_merged(bars.open, lowered, tick),
            high=high,
            low=low,
            close=_merged(bars.close, lowered, tick),
            volume=bars.volume * (1 + scale),
            average=inside(bars.average, low, high),
        )


def _session(start: Seconds, step: int) -> Seconds:
    """Return the label of the session that each bar belongs to."""
    if step >= DAY:
        return start
    calendar = hours()
    return calendar.labels[np.searchsorted(calendar.pre_opens, start, side="right") - 1]


def _merged(price: Floats, lowered: Seconds, tick: float) -> Floats:
    """Return prices; those within two ticks from a multiple of the period, moved by `lowered`, become its lower end."""
    ticks = np.floor(price / tick + 1e-6).astype(np.int64)
    above = (ticks - lowered) % PERIOD
    merged = np.round((ticks - above) * tick, 6)
    return np.where((above <= 1) & (merged > 0), merged, price)
