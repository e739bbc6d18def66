"""Splits on a tape: from its ex-date on the past is told in new shares, as IB tells TRADES bars.

Before the ex-date (00:00 New York, on the gateway's clock) nobody knows of the split and bars are as they were
traded. From then on the prices of all earlier bars are divided by the ratio and their volumes multiplied by it; the
number of trades stays.

Bars of all sizes still agree. Adjusted prices are rounded to four decimals, a rule of ours: IB's is on no record.
Rounding keeps the order of prices, so what was first, highest, lowest and last still is. Volumes are not rounded, or
the sum of short bars would not be the long one, and no trade vanishes in a reverse split. That those sums are exact to
the last bit, for a ratio such as 1/3 too, is why volumes are multiplied by the ratio to 22 binary digits (one part in
four millions). Averages are not rounded either, but kept within their bar's low and high, which are.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway.hours import NEW_YORK
from workbench.gateway.retold import OverTape, Retelling, inside
from workbench.gateway.tape import (
    DAY,
    BarColumns,
    BatchTape,
    Block,
    Floats,
    Seconds,
    Tape,
    streamed,
    told,
)
from workbench.gateway.windows import one_by_one

DECIMALS = 4
DIGITS = 22
"""Of the ratio of a volume: with the 31 of two thousand million shares they are the 53 that a float has."""
COLUMNS = ("symbol", "date", "ratio")


@dataclass(frozen=True, slots=True)
class Split:
    """A split: `ratio` new shares for each old one from the ex-date on, 7.0 for 7:1 and 0.05 for 1:20."""

    symbol: str
    ex_date: date
    ratio: float

    @property
    def label(self) -> int:
        """The ex-date at 00:00 UTC, as daily bars are labelled."""
        return int(datetime(self.ex_date.year, self.ex_date.month, self.ex_date.day, tzinfo=UTC).timestamp())

    @property
    def instant(self) -> int:
        """When it takes effect, in epoch seconds."""
        return int(datetime(self.ex_date.year, self.ex_date.month, self.ex_date.day, tzinfo=NEW_YORK).timestamp())


def read_splits(path: Path) -> list[Split]:
    """Read a CSV with the columns symbol, date (ISO) and ratio. Raises GatewayError, which names the file and line."""
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            table = csv.DictReader(lines)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise GatewayError(f"{path} lacks the columns {', '.join(missing)}")
            return [_parsed(row, f"{path}, line {table.line_num}") for row in table]
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayError(f"{path} cannot be read: {error}") from error


def _parsed(row: dict[str, str], where: str) -> Split:
    try:
        split = Split(row["symbol"], date.fromisoformat(row["date"] or ""), float(row["ratio"] or ""))
    except ValueError as error:
        raise GatewayError(f"{where}: {error}") from error
    if not (math.isfinite(split.ratio) and split.ratio > 0):
        raise GatewayError(f"{where}: a ratio of {split.ratio} is not above 0")
    return split


class SplitTape(Retelling):
    """A tape with splits, told and streamed as they are known at the gateway's present.

    The tape's own bars are as they were traded. Those of a `continuous` tape, as the simulated market, have no jump at
    the ex-date: it is made by telling all prices before it in old shares, as long as nobody knows of the split.
    """

    def __init__(self, tape: Tape, splits: Iterable[Split], *, continuous: bool = False) -> None:
        super().__init__(tape, f"{tape.account}-SPLIT")
        self._continuous = continuous
        self._splits = sorted(splits, key=lambda split: split.ex_date)

    @property
    def unknown(self) -> list[str]:
        """The symbols of splits that change nothing: the tape has no such instrument."""
        return sorted({split.symbol for split in self._splits} - {instrument.key for instrument in self.instruments})

    def told(self, now: float) -> Tape:
        """Return the tape as history tells it at `now`."""
        return self._known(told(self._tape, now), now)

    def streamed(self, now: float) -> Tape:
        """Return the tape as its live bars are sent at `now`: in the shares of the day."""
        return self._known(streamed(self._tape, now), now)

    def _known(self, tape: Tape, now: float) -> Tape:
        past: dict[str, list[Split]] = {}
        ahead: dict[str, float] = {}
        for split in self._splits:
            if split.instant <= now:
                past.setdefault(split.symbol, []).append(split)
            elif self._continuous:
                ahead[split.symbol] = ahead.get(split.symbol, 1.0) * split.ratio
        return _Adjusted(tape, past, ahead, continuous=self._continuous)


class _Adjusted(OverTape):
    """A tape in the shares of one moment."""

    def __init__(self, tape: Tape, past: dict[str, list[Split]], ahead: dict[str, float], *, continuous: bool) -> None:
        super().__init__(tape, tape.account)
        self._past = past
        self._ahead = ahead
        self._continuous = continuous

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds whose start lies in `[begin, end)`, in epoch seconds."""
        bars = self._tape.bars(symbol, step, begin, end, use_rth=use_rth)
        return self._adjusted(bars, [symbol], np.zeros(len(bars), dtype=np.int64), step)

    def window(self, symbols: Sequence[str], begin: int, end: int, *, use_rth: bool) -> Block:
        """Return the bars of five seconds of each symbol whose start lies in `[begin, end)`."""
        if isinstance(self._tape, BatchTape):
            block = self._tape.window(symbols, begin, end, use_rth=use_rth)
        else:
            block = one_by_one(self._tape, symbols, begin, end, use_rth=use_rth)
        return Block(block.place, self._adjusted(block.bars, symbols, block.place, 5))

    def _adjusted(self, bars: BarColumns, symbols: Sequence[str], place: Seconds, step: int) -> BarColumns:
        """Return bars, each of the symbol at its place, in the shares of the moment."""
        shares, price = np.ones(len(bars)), np.ones(len(bars))
        for number, symbol in enumerate(symbols):
            if symbol in self._past or symbol in self._ahead:
                rows = slice(*np.searchsorted(place, [number, number + 1]).tolist())
                shares[rows] = self._shares(symbol, bars.start[rows], step)
                price[rows] = 1 / self._ahead.get(symbol, 1.0) if self._continuous else shares[rows]
        return _divided(bars, price, shares)

    def _shares(self, symbol: str, start: Seconds, step: int) -> Floats:
        """Return how many shares of the moment each share of a bar is."""
        splits = self._past.get(symbol, [])
        edges = [split.label if step >= DAY else split.instant for split in splits]
        ratios = np.append([split.ratio for split in splits], 1.0)
        after = np.cumprod(ratios[::-1])[::-1]  # the product of each ratio and those after it
        return np.asarray(after[np.searchsorted(edges, start, side="right")])


def _divided(bars: BarColumns, price: Floats, shares: Floats) -> BarColumns:
    """Return bars with prices divided and volumes multiplied; what both leave alone is not rounded either."""
    if bool(np.all(price == 1)) and bool(np.all(shares == 1)):
        return bars

    def rounded(before: Floats) -> Floats:
        return np.where(price == 1, before, np.round(before / price, DECIMALS))

    low, high = rounded(bars.low), rounded(bars.high)
    return replace(
        bars,
        open=rounded(bars.open),
        high=high,
        low=low,
        close=rounded(bars.close),
        volume=bars.volume * _short(shares),
        average=np.where(price == 1, bars.average, inside(bars.average / price, low, high)),
    )


def _short(ratio: Floats) -> Floats:
    """Return ratios to so few binary digits that volumes times them, and the sums of those, are exact."""
    mantissa, exponent = np.frexp(ratio)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, DIGITS)), exponent - DIGITS))
