"""Several timeframes side by side, each as it was known at the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InvalidBars
from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import Floats, Indicator
from workbench.market.aggregate.forming import Forming
from workbench.market.aggregate.grid import Grid, Seconds, bar_ends
from workbench.market.bars import REQUIRED, TIMESTAMP
from workbench.market.timeframes import Timeframe, parse_timeframe


def join_timeframes(
    base: pd.DataFrame,
    timeframe: str,
    higher: Mapping[str, pd.DataFrame],
    *,
    forming: Sequence[Indicator] = (),
    use_rth: bool = True,
) -> pd.DataFrame:
    """Return `base`, bars of `timeframe`, with the columns of longer timeframes as they were known then.

    A row of `base` is known when its bar is complete; beside it stands, of each frame in `higher`, the newest bar that
    was complete by then. Its columns are named with the timeframe, `rsi_1hour`, and `timestamp_1hour` is its start:
    where bars are missing, an older one than usual. Rows before the first have NaN.

    With `forming`, indicators are computed with the longer bar that was forming as well, made of the base's bars so
    far: `rsi_1hour_forming`. That is what a live chart shows; it changes until the bar is complete. Forming bars
    reach back to where the base begins within them, so the first one may lack its first part. Where IB cuts its
    four-hour bars is not verified: they are known at the end of their session, and not while they form.

    Raises `InvalidBars` for frames that are not sorted by time, or whose bars are not longer than the base's.
    """
    shorter = parse_timeframe(timeframe)
    known = bar_ends(_starts(base, timeframe), shorter, use_rth=use_rth)
    joined = [base]
    for name, frame in higher.items():
        longer = parse_timeframe(name)
        if longer.seconds <= shorter.seconds:
            raise InvalidBars(f"bars of {longer} are not longer than those of {shorter}; join them the other way round")
        starts = _starts(frame, name)
        ends = bar_ends(starts, longer, use_rth=use_rth)
        rows = np.searchsorted(ends, known, side="right") - 1
        joined.append(_as_known(frame, rows, base.index, name))
        if forming and longer.name == "4hour":
            raise InvalidBars("where IB cuts its four-hour bars is not verified: none is shown while it forms")
        if forming:
            bars = _Bars(frame, rows, ends)
            joined.append(_while_forming(base, bars, longer, forming, use_rth=use_rth))
    return pd.concat(joined, axis=1)


def _starts(frame: pd.DataFrame, name: str) -> Seconds:
    index = frame.index
    if not (isinstance(index, pd.DatetimeIndex) and index.tz is not None):
        raise InvalidBars(f"the bars of {name} are not indexed by their start in UTC")
    if not (index.is_monotonic_increasing and index.is_unique):
        raise InvalidBars(f"the bars of {name} are not sorted by time, or one is there twice; see sort_index()")
    return index.as_unit("s").asi8


def _as_known(frame: pd.DataFrame, rows: np.ndarray, index: pd.Index, name: str) -> pd.DataFrame:
    stamped = frame.assign(**{TIMESTAMP: frame.index}).reset_index(drop=True)
    return stamped.reindex(rows).set_axis(index).add_suffix(f"_{name}")  # no row has the number -1


@dataclass(frozen=True, slots=True)
class _Bars:
    """The longer bars: their frame, their ends, and the newest complete one at each bar of the base."""

    frame: pd.DataFrame
    rows: npt.NDArray[np.int64]
    ends: Seconds


def _while_forming(
    base: pd.DataFrame, bars: _Bars, longer: Timeframe, suite: Sequence[Indicator], *, use_rth: bool
) -> pd.DataFrame:
    """Return the indicators at each bar of the base, the longer bar that forms then taken for complete."""
    columns = {name: np.ascontiguousarray(bars.frame[name].to_numpy(np.float64)) for name in REQUIRED}
    live, taken = LiveIndicators(suite, {name: column[:0] for name, column in columns.items()}), 0
    table = []
    for complete, (end, bar) in zip(bars.rows.tolist(), _forming_bars(base, longer, use_rth=use_rth), strict=True):
        while taken <= complete:
            live.update({name: float(column[taken]) for name, column in columns.items()})
            taken += 1
        is_complete = complete >= 0 and bars.ends[complete] == end
        table.append(live.values if is_complete else live.peek(bar))
    outputs = [name for indicator in suite for name in indicator.outputs]
    return pd.DataFrame(table, index=base.index, columns=outputs).add_suffix(f"_{longer}_forming")


def _forming_bars(base: pd.DataFrame, longer: Timeframe, *, use_rth: bool) -> Iterator[tuple[int, dict[str, float]]]:
    """Give the longer bar as it stood at each bar of the base, and its end."""
    starts = _starts(base, str(longer))
    if not len(starts):
        return
    begins, ends = Grid(int(starts[0]), int(starts[-1]), use_rth=use_rth).cut(starts, longer)
    columns: list[Floats] = [base[name].to_numpy(np.float64) for name in REQUIRED]
    whole = Forming()
    for begin, end, *values in zip(begins.tolist(), ends.tolist(), *(each.tolist() for each in columns), strict=True):
        if begin != whole.start:
            whole.reset(begin, end)
        whole.absorb(_part(*values))
        yield end, dict(zip(REQUIRED, (whole.open, whole.high, whole.low, whole.close, whole.volume), strict=True))


def _part(open: float, high: float, low: float, close: float, volume: float) -> Forming:  # noqa: A002
    part = Forming()
    part.open, part.high, part.low, part.close, part.volume = open, high, low, close, volume
    part.traded, part.received = volume > 0, 1
    return part
