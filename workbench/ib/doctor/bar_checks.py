"""What a sample of bars tells of a gateway: what volumes count, and where bars are cut. Pure."""

from __future__ import annotations

import pandas as pd

from workbench.ib.doctor.checks import SETTINGS, Check, State
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.market.timeframes import Timeframe

_LOTS = (
    f'Untick "Send market data in lots for US stocks for dual-mode API clients" in TWS ({SETTINGS}), restart it, and '
    "ask the doctor again; bars that were stored before are in the other unit."
)

_ALIKE, _HUNDREDFOLD = (0.5, 2.0), (50.0, 200.0)
"""IB filters history, and it is a little less than the stream; a unit is a factor of 100."""


def factor(stream: pd.DataFrame, twin: pd.DataFrame) -> float | None:
    """Return how many times the volume of streamed bars their historical twins have; None without twins."""
    both = pd.concat({"stream": stream["volume"], "twin": twin["volume"]}, axis=1, join="inner")
    both = both[(both["stream"] > 0) & (both["twin"] > 0)]
    return None if both.empty else float((both["twin"] / both["stream"]).median())


def volume_unit(history: str, times: float | None, *, is_open: bool) -> Check:
    """Say what volumes count: `history` as told by `unit_of`, `times` by `factor`."""
    name = "volume unit"
    if not history:
        return Check(
            name, State.UNKNOWN, "the volume a trade does not tell shares from lots", "Ask again on a busy day."
        )
    remedy = _LOTS if history == "lots" else ""
    if times is None:
        why = "no live bar could be compared" if is_open else "live bars are not known while the market is closed"
        state = State.LOOK if history == "lots" else State.UNKNOWN
        return Check(name, state, f"history counts {history}; {why}", remedy, f"history {history}")
    if _ALIKE[0] <= times <= _ALIKE[1]:
        state = State.OK if history == "shares" else State.LOOK
        return Check(name, state, f"{history}, in history and live alike", remedy, history)
    live = {"shares": (_HUNDREDFOLD, "lots"), "lots": ((1 / _HUNDREDFOLD[1], 1 / _HUNDREDFOLD[0]), "shares")}
    (low, high), other = live[history]
    if low <= times <= high:
        found = f"history counts {history}, live bars {other}"
        return Check(name, State.PROBLEM, found, _LOTS, f"history {history}, live {other}")
    return Check(
        name, State.LOOK, f"history counts {history} and has {times:.2g} times the volume of the same bars live",
        "Ask the doctor again; if it stays, do not mix live and historical volumes.", f"history {history}",
    )  # fmt: skip


def cut(bars: pd.DataFrame, timeframe: Timeframe) -> pd.DataFrame:
    """Return bars made of shorter ones as the workbench cuts them: on the exchange's clock, the first at the open."""
    wall = _wall(bars)
    opens = pd.Series(wall, index=wall).groupby(wall.date).transform("min")
    starts = pd.DatetimeIndex(pd.Series(wall.floor(timeframe.length), index=wall).where(lambda it: it > opens, opens))
    return bars.groupby(starts.tz_convert("UTC")).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )


def alignment(timeframe: Timeframe, theirs: pd.DataFrame, finer: pd.DataFrame) -> Check:
    """Compare IB's bars of whole sessions with those that shorter ones make by the workbench's rule."""
    name = f"{timeframe} bars"
    ours = cut(finer, timeframe)
    dates = set(_dates(theirs)) & set(_dates(ours))
    if not dates:
        return Check(name, State.UNKNOWN, "there were no whole sessions to compare")
    theirs, ours = (bars[[date in dates for date in _dates(bars)]] for bars in (theirs, ours))
    if not theirs.index.equals(ours.index):
        return Check(
            name, State.PROBLEM, f"IB cuts them at {_cuts(theirs)}; the workbench at {_cuts(ours)} (New York)",
            "Do not fetch this timeframe from this gateway: its bars and those built live would not fit. Report this "
            "line.", _cuts(theirs),
        )  # fmt: skip
    prices = ["open", "high", "low", "close"]
    differ = int(((theirs[prices] - ours[prices]).abs() > 1e-6).any(axis=1).sum())
    where = f"cut at {_cuts(theirs)} (New York), as here; seen on {len(dates)} session{'s' * (len(dates) > 1)}"
    where += ", a half day among them" if _has_half_day(finer, dates) else ""
    if differ:
        return Check(
            name, State.LOOK, f"{where}; prices of {differ} of {len(theirs)} differ from those of shorter bars",
            "IB may have revised some: ask the doctor again tomorrow.", _cuts(theirs),
        )  # fmt: skip
    return Check(name, State.OK, where, answer=_cuts(theirs))


def _wall(bars: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(bars.index).tz_convert(EXCHANGE_ZONE)


def _dates(bars: pd.DataFrame) -> list[object]:
    return list(_wall(bars).date)


def _has_half_day(bars: pd.DataFrame, dates: set[object]) -> bool:
    wall = _wall(bars)
    ends = {start.date(): start.time() for start in wall if start.date() in dates}
    return len(set(ends.values())) > 1


def _cuts(bars: pd.DataFrame) -> str:
    """Return the times of day at which the fullest session is cut."""
    wall = _wall(bars)
    fullest = max((list(day) for _, day in wall.to_series().groupby(wall.date)), key=len)
    times = [f"{start:%H:%M}" for start in fullest]
    return ", ".join(times if len(times) < 5 else [*times[:3], "…", times[-1]])
