"""Verdicts on bars that look wrong: accepted, they are stored and no more reported; dropped, they are left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pandas as pd

from workbench.errors import InvalidInput
from workbench.market.bars import COLUMNS, REQUIRED, TIMESTAMP, empty_bars
from workbench.market.coverage import Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.review import slot_of, to_rows

Verdict = Literal["accepted", "dropped"]


def judge(
    store: HistoricalDataManager,
    symbol: str,
    timeframe: str,
    verdict: Verdict,
    *,
    starts: Sequence[datetime] = (),
    what_to_show: str = "TRADES",
) -> int:
    """Accept or drop bars of a series, those that start at `starts`, or all that are held back; return how many.

    Either is remembered with the bars' own values. A bar that is held back is stored when it is accepted; one that is
    stored goes when it is dropped. Both count as covered from then on. Raises `InvalidInput` when there is no such bar.
    """
    rows = _rows(store, symbol, timeframe, what_to_show, verdict, starts)
    stored = store.load_bars(symbol, timeframe, what_to_show=what_to_show)
    store.review.note(rows)  # first, so that the door lets them pass, or leaves them out
    for _, row in rows.iterrows():
        use_rth, start = bool(row["use_rth"]), row[TIMESTAMP].to_pydatetime()
        bar = row[list(COLUMNS)].astype("float64").to_frame().T.set_axis(pd.DatetimeIndex([start]))
        store.save_bars(
            symbol,
            timeframe,
            bar if verdict == "accepted" else _others(stored, bar),
            what_to_show=what_to_show,
            use_rth=use_rth,
            covers=_slot(start, timeframe, use_rth=use_rth),
        )
    return len(rows)


def _others(stored: pd.DataFrame, bar: pd.DataFrame) -> pd.DataFrame:
    """Return what is stored at the time of a bar that is dropped, unless it is that very bar: it stays."""
    there = stored[stored.index == bar.index[0]]
    is_same = not there.empty and (there[list(REQUIRED)].to_numpy() == bar[list(REQUIRED)].to_numpy()).all()
    return empty_bars() if is_same or there.empty else there


def _slot(start: datetime, timeframe: str, *, use_rth: bool) -> Interval:
    """Return the time of a bar, outside of the sessions too."""
    length = parse_timeframe(timeframe)
    slot = slot_of(start, length, session_calendar(use_rth=use_rth))
    return slot or Interval(start, start + length.length)


def _rows(
    store: HistoricalDataManager,
    symbol: str,
    timeframe: str,
    what_to_show: str,
    verdict: Verdict,
    starts: Sequence[datetime],
) -> pd.DataFrame:
    """Return the bars that are meant as rows of the review, those held back before those stored."""
    known = store.review.of(symbol, timeframe, what_to_show)
    waiting = known[known["judgement"] == "held back"]
    if not starts:
        if waiting.empty:
            raise InvalidInput(f"no bars of {symbol} {timeframe} are held back")
        return waiting.assign(judgement=verdict)
    chosen = waiting[waiting[TIMESTAMP].isin(starts)].assign(judgement=verdict)
    others = [start for start in starts if not (waiting[TIMESTAMP] == start).any()]
    if not others:
        return chosen
    stored = store.load_bars(symbol, timeframe, what_to_show=what_to_show)
    found = stored[stored.index.isin(others)]
    if len(found) < len(set(others)):
        lacking = sorted(set(others) - {stamp.to_pydatetime() for stamp in found.index})
        raise InvalidInput(f"no bar of {symbol} {timeframe} starts at {lacking[0]}, stored or held back")
    (info,) = (
        one
        for one in store.series()
        if (one.symbol, one.timeframe, one.what_to_show) == (symbol, timeframe, what_to_show)
    )
    frame = found.reset_index().assign(reason="")
    rows = to_rows(frame, symbol, timeframe, what_to_show, use_rth=info.use_rth, source=info.source, judgement=verdict)
    return pd.concat([chosen, rows], ignore_index=True) if len(chosen) else rows
