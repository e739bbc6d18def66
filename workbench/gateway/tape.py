"""What the built-in gateway plays: instruments, and bars of every size.

A tape knows the whole past and future of its market. It never looks at a clock: whoever asks it
(`history.py`, `protocol.py`) cuts at the gateway's present, so nothing of the future leaves the gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

DAY = 86_400
"""The step of daily bars: they are labelled by their session's date at 00:00 UTC."""

STEPS = (5, 60, 300, 900, 3600, 14_400, DAY)
"""The steps that bars are asked of a tape in, finest first; all others are aggregated from these."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One contract of the tape's market, with what contract details tell of it."""

    con_id: int
    symbol: str
    sec_type: str  # STK or IND
    primary_exchange: str
    long_name: str
    currency: str = "USD"
    stock_type: str = "COMMON"  # COMMON or ETF; empty for an index
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    isin: str = ""
    min_tick: float = 0.01
    time_zone: str = "US/Eastern"
    line: str = ""  # what the tape calls it where another instrument has its symbol too
    streams: bool = True  # whether the tape has five-second bars of it

    @property
    def key(self) -> str:
        """The name by which bars are asked of the tape: the symbol, where that is unique."""
        return self.line or self.symbol

    def __hash__(self) -> int:  # all fields would be hashed for every bar that is sent
        return self.con_id


@dataclass(frozen=True, slots=True)
class BarColumns:
    """Bars as columns of equal length, sorted by `start`.

    `start` is in epoch seconds (UTC), the bar's left edge; a daily bar carries its session's date at 00:00 UTC.
    `average` is the volume-weighted price and `count` the number of trades; an index has `volume` 0.
    """

    start: Seconds
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    average: Floats
    count: Counts

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True)
class Block:
    """Bars of several symbols, sorted by symbol and start. `place` is a bar's symbol among those asked for."""

    place: Counts
    bars: BarColumns


class Tape(Protocol):
    """A market to play."""

    @property
    def account(self) -> str:
        """The account the gateway announces; it starts with SIMULATED or REPLAY and names the tape."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Everything that can be asked for."""

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        """Return the start of the earliest bar in epoch seconds, or None when there is none."""

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds whose start lies in `[begin, end)`, in epoch seconds.

        `step` is one of `STEPS`, or 1; a tape without bars so short returns none. In regular hours five-second bars
        have no gaps: a window in which nobody traded has a flat bar.
        """


@runtime_checkable
class BatchTape(Protocol):
    """A tape that looks up many symbols in one pass."""

    def window(self, symbols: Sequence[str], begin: int, end: int, *, use_rth: bool) -> Block:
        """Return the bars of five seconds of each symbol whose start lies in `[begin, end)`, in epoch seconds."""


@runtime_checkable
class RetoldTape(Protocol):
    """A tape whose past is told otherwise as time goes by: after a split, or after corrections."""

    def streamed(self, now: float) -> Tape:
        """Return the tape as its live bars are sent at `now`, in epoch seconds."""

    def told(self, now: float) -> Tape:
        """Return the tape as history tells it at `now`, in epoch seconds."""


def streamed(tape: Tape, now: float) -> Tape:
    """Return a tape as its live bars are sent at `now`."""
    return tape.streamed(now) if isinstance(tape, RetoldTape) else tape


def told(tape: Tape, now: float) -> Tape:
    """Return a tape as history tells it at `now`."""
    return tape.told(now) if isinstance(tape, RetoldTape) else tape


@dataclass(frozen=True, slots=True)
class SessionHours:
    """The hours of one session in epoch seconds (UTC). Half days close early, before and after hours too."""

    label: int  # the session's date at 00:00 UTC
    pre_open: int  # 04:00 New York
    open: int
    close: int
    post_close: int  # 20:00 New York, 17:00 on a half day
    utc_offset: int = field(repr=False)  # seconds to add to UTC for New York's wall clock

    def begin(self, *, use_rth: bool) -> int:
        """Return where trading begins, in or out of regular trading hours."""
        return self.open if use_rth else self.pre_open

    def end(self, *, use_rth: bool) -> int:
        """Return where trading ends, in or out of regular trading hours."""
        return self.close if use_rth else self.post_close
