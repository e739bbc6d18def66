"""What tapes over another tape share: its instruments and its head are theirs, only bars are told otherwise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from workbench.gateway.tape import BarColumns, Floats, Instrument, Tape


class OverTape(ABC):
    """A tape that tells the bars of another in its own way."""

    def __init__(self, tape: Tape, account: str) -> None:
        self._tape = tape
        self.account = account

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Those of the tape."""
        return self._tape.instruments

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        """Return the start of the earliest bar in epoch seconds, or None when there is none."""
        return self._tape.head(symbol, use_rth=use_rth)

    @abstractmethod
    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds whose start lies in `[begin, end)`, in epoch seconds."""


class Retelling(OverTape):
    """A tape whose past is told otherwise as time goes by; asked for bars, it tells all that will ever be known."""

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return bars as history tells them when everything has happened."""
        return self.told(math.inf).bars(symbol, step, begin, end, use_rth=use_rth)

    @abstractmethod
    def told(self, now: float) -> Tape:
        """Return the tape as history tells it at `now`."""

    @abstractmethod
    def streamed(self, now: float) -> Tape:
        """Return the tape as its live bars are sent at `now`."""


def inside(average: Floats, low: Floats, high: Floats) -> Floats:
    """Return averages that do not leave their bar's prices; 0, where nobody traded, stays.

    Telling prices otherwise moves them by up to a tick, and what their average was can come to lie outside.
    """
    return np.where(average > 0, np.clip(average, low, high), average)
