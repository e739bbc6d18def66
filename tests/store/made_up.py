"""Made-up bars for the checks of quality, and what a check says of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from workbench.market.coverage import Interval
from workbench.market.sessions import EXCHANGE_ZONE, Session, session_calendar
from workbench.market.timeframes import parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality import Finding, check_store

REGULAR = session_calendar(use_rth=True)
BEGIN, END = datetime(2026, 2, 17, tzinfo=UTC), datetime(2026, 4, 7, tzinfo=UTC)
"""Sessions from the day after a holiday, over a change of the clocks and Good Friday."""
SESSIONS = REGULAR.during(BEGIN, END, parse_timeframe("15min"))


def starts(session: Session, timeframe: str) -> pd.DatetimeIndex:
    """Return where the bars of a session start."""
    if timeframe == "1day":
        return pd.DatetimeIndex([session.label_utc])
    step = parse_timeframe(timeframe).length
    midnight = session.begin.astimezone(EXCHANGE_ZONE).replace(hour=0, minute=0).astimezone(UTC)
    clock = pd.date_range(midnight, session.end, freq=step, inclusive="left")
    clock = clock[clock + step > session.begin]
    first = clock.where(clock >= session.begin, pd.Timestamp(session.begin))
    return first.unique().as_unit("us")


def quarters(seed: int = 1) -> pd.DataFrame:
    """Return fifteen-minute bars of all sessions: a walk around 100."""
    index = starts(SESSIONS[0], "15min").append([starts(session, "15min") for session in SESSIONS[1:]])
    walk = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.002, len(index) + 1)))
    opens, closes = walk[:-1].round(2), walk[1:].round(2)
    frame = pd.DataFrame({"open": opens, "close": closes}, index=index.rename("timestamp"))
    return frame.assign(high=frame.max(axis=1) + 0.05, low=frame.min(axis=1) - 0.05, volume=1000.0)[
        ["open", "high", "low", "close", "volume"]
    ]


def longer(bars: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """Return bars aggregated: by the exchange's clock, which the open cuts, or by sessions."""
    edges = pd.DatetimeIndex(np.concatenate([starts(session, timeframe) for session in SESSIONS]), tz="UTC")
    begins = pd.DatetimeIndex([session.begin for session in SESSIONS]) if timeframe == "1day" else edges
    at = begins.searchsorted(bars.index, side="right") - 1
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    told = bars.groupby(at).agg(how)
    return told.set_axis(edges[told.index].rename("timestamp"))


def session_at(day: str) -> Session:
    (session,) = [one for one in SESSIONS if one.label == date.fromisoformat(day)]
    return session


def without(bars: pd.DataFrame, begin: datetime, end: datetime) -> pd.DataFrame:
    return bars[(bars.index < begin) | (bars.index >= end)]


def save(
    store: HistoricalDataManager, bars: pd.DataFrame, timeframe: str = "15min", covers: Interval | None = None
) -> None:
    store.save_bars("KO", timeframe, bars, covers=covers or Interval(BEGIN, END))


def check(store: HistoricalDataManager, as_of: datetime = END) -> Sequence[Finding]:
    return check_store(store, as_of=as_of).findings


def kinds(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.timeframe, one.kind) for one in findings]
