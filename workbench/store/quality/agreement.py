"""Timeframes of a symbol against each other: the shorter bars, aggregated, tell the longer ones.

They do not tell them to the cent. A closing auction is in the day and not in the last minute; late reports move volume
between neighbouring bars; a longer bar may be filtered more tightly (in real bars, a fifth of the hours differ from
their minutes by a cent or so, and minutes hold 63 to 99 per cent of the day's volume). So prices may differ by a
quarter of the usual range of the longer bars, and the volume of the shorter ones be half of the longer ones': what is
beyond is a missing or a wrong bar, or another basis of prices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from workbench.store.quality.findings import Finding
from workbench.store.quality.subject import Subject, covered, runs
from workbench.store.review import moment_of

_PRICE_RANGES = 0.25
_CENT = 0.01
_LEAST, _MOST = 0.5, 1.1
"""What the shorter bars' volume may be of the longer ones'."""
_SLIGHT = 0.1
"""Differences of volume up to this share of the longer bars' median are not looked at."""
_PRICES = ["open", "high", "low", "close"]
_HOW = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def pairs(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, Subject]]:
    """Give each series with the next shorter one of the same symbol, prices and hours that tells it.

    Five-second bars tell nothing: their auctions are elsewhere. Nor do four-hour bars, for where they are cut is not
    verified; they are told, as days are, by whole sessions.
    """
    able = sorted((one for one in subjects if len(one.bars)), key=lambda one: one.timeframe.seconds)
    for longer in able:
        telling = [one for one in able if _tells(one, longer)]
        if telling:
            yield telling[-1], longer


def find_disagreements(shorter: Subject, longer: Subject) -> Iterator[Finding]:
    """Find longer bars that the shorter ones tell otherwise, where both are covered; neighbours are one finding."""
    rows = _aligned(shorter, longer)
    told, stored = rows["told"], rows["stored"]
    apart = np.fmax.reduce((told[_PRICES] - stored[_PRICES]).abs().to_numpy(), axis=1)
    price = apart > _PRICE_RANGES * _usual(longer) * stored["close"] + _CENT
    volume = _volumes_differ(told["volume"].fillna(0), stored["volume"].fillna(0))
    for first, after in runs(np.asarray(price | volume)):
        name = _PRICES if price.iloc[first] else ["volume"]
        ours, theirs = (_format(side.iloc[first][name]) for side in (stored, told))
        begin, last = (moment_of(rows["span", at].iloc[row]) for at, row in (("begin", first), ("end", after - 1)))
        more = f"; so do {after - first - 1} bars after it" if after - first > 1 else ""
        what = f"{longer.tell(begin)} says {ours}, its {shorter.timeframe} bars {theirs}{more}"
        found = longer.finding("disagreement", begin, last, what, "fetch both again: --fix")
        yield replace(found, told_by=str(shorter.timeframe))


def _tells(shorter: Subject, longer: Subject) -> bool:
    same = (shorter.what_to_show, shorter.use_rth) == (longer.what_to_show, longer.use_rth)
    is_shorter = shorter.timeframe.seconds < longer.timeframe.seconds
    return same and is_shorter and shorter.timeframe.name not in ("5sec", "4hour")


def _aligned(shorter: Subject, longer: Subject) -> pd.DataFrame:
    """Return what the shorter bars tell of each longer one beside what is stored, where both are covered.

    Columns `told` and `stored`, with prices and volume, and `span`, with begin and end in microseconds.
    """
    told, stored = _aggregated(shorter, longer), _aggregated(longer, longer)
    rows = pd.concat({"told": told, "stored": stored}, axis=1).sort_index()
    begins, ends = _spans(rows.index.to_numpy(), longer)
    inside = covered(begins, ends, shorter.coverage)
    if longer.timeframe.is_daily:
        begins, _, _ = longer.calendar.edges(rows.index.to_numpy())
        ends = begins + _length(longer)
    rows["span", "begin"], rows["span", "end"] = begins, ends
    both: pd.DataFrame = rows[inside & covered(begins, ends, longer.coverage)]
    return both


def _aggregated(subject: Subject, longer: Subject) -> pd.DataFrame:
    """Return the bars aggregated to longer ones, by the longer bar's start, or by the number of their session."""
    located = longer.calendar.locate(subject.stamps, subject.timeframe)
    inside = located >= 0
    keys = located[inside] if _by_session(longer) else _starts(subject.stamps[inside], located[inside], longer)
    return subject.bars[inside].groupby(keys).agg(_HOW)


def _starts(stamps: np.ndarray, located: np.ndarray, longer: Subject) -> np.ndarray:
    """Return where the longer bar starts that each lies in: on the clock, or at the open that cuts it."""
    _, begins, _ = longer.calendar.edges(located)
    return np.asarray(np.maximum(stamps - stamps % _length(longer), begins))


def _spans(keys: np.ndarray, longer: Subject) -> tuple[np.ndarray, np.ndarray]:
    if _by_session(longer):
        _, begins, ends = longer.calendar.edges(keys)
        return begins, ends
    _, _, ends = longer.calendar.edges(longer.calendar.locate(keys, longer.timeframe))
    return keys, np.minimum(keys - keys % _length(longer) + _length(longer), ends)


def _by_session(longer: Subject) -> bool:
    return longer.timeframe.name in ("4hour", "1day")


def _length(subject: Subject) -> int:
    return subject.timeframe.seconds * 1_000_000


def _usual(longer: Subject) -> float:
    """Return the usual range of the longer bars, or of a session's, as a share of the price."""
    usual = float(np.median(longer.usual_range))
    return usual * (2 if longer.timeframe.name == "4hour" else 1)


def _volumes_differ(told: pd.Series, stored: pd.Series) -> pd.Series:
    beyond = (told < _LEAST * stored) | (told > _MOST * stored)
    return beyond & ((told - stored).abs() > _SLIGHT * stored.median())


def _format(values: pd.Series) -> str:
    return "nothing" if values.isna().all() else ", ".join(f"{name} {value:g}" for name, value in values.items())
