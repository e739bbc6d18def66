"""Bars: their columns, their types, and the rules that every set of bars keeps.

In pandas the timestamp is the index; in Arrow, and so in parquet, it is a column. A timestamp is the left edge of
its bar in UTC; a daily bar carries its session's date at 00:00 UTC. Prices are in the contract's currency, volume
in shares. A frame has no other columns: one that is not known is refused, for dropping it would lose a misspelt
`barCount` in silence. What the index is called does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.errors import InvalidBars
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.market.timeframes import Timeframe

TIMESTAMP = "timestamp"
PRICES = ("open", "high", "low", "close")
VOLUME = "volume"
REQUIRED = (*PRICES, VOLUME)
OPTIONAL = ("average", "bar_count")
"""Volume-weighted price and number of trades: NaN where IB does not give them."""

COLUMNS = (*REQUIRED, *OPTIONAL)
STAMP_TYPE = pa.timestamp("us", tz="UTC")
INDEX_DTYPE = "datetime64[us, UTC]"
_FIRST_US, _END_US = (int(np.datetime64(day, "us").astype(np.int64)) for day in ("1900-01-01", "2200-01-01"))
_MOST = 1e9
"""No price is as high; the largest float is IB's word for one that is not set."""
_QUARTER_S = 900
_OPEN_MIN = 570
_HOURLY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "1hour": lambda minute: (minute % 60 == 0) | (minute == _OPEN_MIN),
    "4hour": lambda minute: (minute % 240 == 0) | (minute % 240 == _OPEN_MIN % 240),
}
"""Where bars of hours start, in minutes of the exchange's clock."""
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "empty"}
"""What pandas calls columns of numbers, by their values. Text, truth values and dates are none."""

SCHEMA = pa.schema(
    [pa.field(TIMESTAMP, STAMP_TYPE, nullable=False)]
    + [pa.field(name, pa.float64(), nullable=False) for name in REQUIRED]
    + [pa.field(name, pa.float64()) for name in OPTIONAL]
)


class Rule(NamedTuple):
    """A rule of the data model, and which rows break it. `kind` names what a breach is."""

    kind: Literal["broken", "duplicate", "off grid"]
    claim: str
    broken: np.ndarray


def empty_bars() -> pd.DataFrame:
    """Return a frame of no bars, with every column."""
    return to_frame(SCHEMA.empty_table())


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table of bars as a pandas frame; absent columns stay absent."""
    names = [name for name in table.column_names if name != TIMESTAMP]
    values = np.empty((len(names), table.num_rows))  # one block, as pandas keeps it: each number is copied once
    for row, name in zip(values, names, strict=True):
        first = 0
        for chunk in table.column(name).chunks:
            row[first : first + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
            first += len(chunk)
    stamps = table.column(TIMESTAMP).to_numpy().view("datetime64[us]")
    index = pd.DatetimeIndex(stamps, name=TIMESTAMP, tz="UTC")
    return pd.DataFrame(values.T, index=index, columns=_labels(*names).view(), copy=False)


@cache
def _labels(*names: str) -> pd.Index:
    """Return column labels: made once, for making them takes as long as the rest of a frame."""
    return pd.Index(names)


def to_table(bars: pd.DataFrame, timeframe: Timeframe | None = None) -> pa.Table:
    """Return bars as an Arrow table with the schema of the store.

    Raises `InvalidBars`, naming the row, when the bars break a rule of the data model: a timestamp index in UTC,
    sorted and without duplicates; finite, positive prices; low ≤ open, close ≤ high; a finite volume ≥ 0; an
    average and a count that are missing (NaN) or finite and ≥ 0. With a timeframe, bars start on its grid. What keeps
    all this and still looks wrong is for `market/doubts.py`.
    """
    _check_shape(bars)
    index = bars.index
    assert isinstance(index, pd.DatetimeIndex)  # noqa: S101  _check_shape has refused anything else
    values, stamps = _values(bars), _micros(index).copy()  # the table shares no memory with the frame
    rules = () if _is_plainly_sound(stamps, values) else _rules(stamps, values)
    for rule in (*rules, *_grid_rules(index, stamps, timeframe)):
        _refuse_first(rule, bars)
    arrays = [pa.array(stamps).view(STAMP_TYPE), *(pa.array(values[name]) for name in REQUIRED)]
    for name in OPTIONAL:
        column = values.get(name)
        arrays.append(pa.nulls(len(bars), pa.float64()) if column is None else pa.array(column, from_pandas=True))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def broken_rules(bars: pd.DataFrame, timeframe: Timeframe) -> list[Rule]:
    """Return the rules of the data model that some of the bars break; bars have the right columns and index."""
    assert isinstance(bars.index, pd.DatetimeIndex)  # noqa: S101  as load_bars gives them
    stamps, values = _micros(bars.index), _values(bars)
    rules = (*_rules(stamps, values), *_grid_rules(bars.index, stamps, timeframe))
    return [rule for rule in rules if rule.broken.any()]


def _check_shape(bars: pd.DataFrame) -> None:
    if not isinstance(bars, pd.DataFrame):
        raise InvalidBars(f"bars come as a pandas DataFrame, not as {type(bars).__name__}")
    names = bars.columns.tolist()  # a list is asked in a third of the time
    if len(set(names)) < len(names):
        raise InvalidBars("a column occurs twice")
    unknown = [str(name) for name in names if name not in COLUMNS]
    if unknown:
        raise InvalidBars(f"bars have no column {', '.join(unknown)}; they have {', '.join(COLUMNS)}")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise InvalidBars(f"the columns {', '.join(missing)} are missing; bars have {', '.join(COLUMNS)}")
    if not isinstance(bars.index, pd.DatetimeIndex):
        raise InvalidBars(f"the index holds {bars.index.dtype}; it must be the bars' start as timestamps in UTC")
    if bars.index.tz is None:
        raise InvalidBars(
            f"the timestamps have no time zone (the first row is {bars.index[0]}); say which one they are in, "
            "for example bars.tz_localize('America/New_York')"
            if len(bars)
            else "the timestamps have no time zone"
        )


def _values(bars: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return copies of the columns as numbers."""
    block = bars.to_numpy()
    if block.dtype == np.float64:
        return dict(zip(bars.columns.tolist(), np.array(block.T, order="C"), strict=True))
    return {name: _floats(bars, name).copy() for name in COLUMNS if name in bars.columns}


def _floats(bars: pd.DataFrame, name: str) -> np.ndarray:
    found = pd.api.types.infer_dtype(bars[name], skipna=True)
    if found not in _NUMBERS:
        raise InvalidBars(f"the column {name} holds something that is no number ({found})")
    try:
        return bars[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidBars(f"the column {name} holds something that is no number: {error}") from error


def _micros(index: pd.DatetimeIndex) -> np.ndarray:
    try:
        return index.as_unit("us").asi8
    except pd.errors.OutOfBoundsDatetime as error:
        raise InvalidBars(f"a timestamp lies far outside of trading times: {error}") from error


def _grid_rules(index: pd.DatetimeIndex, stamps: np.ndarray, timeframe: Timeframe | None) -> Iterator[Rule]:
    """Give the rules on where a bar may start.

    Bars of hours sit on the exchange's clock, but for the first one, which the open cuts. Where IB cuts the four-hour
    bars after it, at 12:00 or at 13:30, is not verified: both pass.
    """
    if index.unit == "ns":
        yield Rule("off grid", "has a timestamp finer than a microsecond", np.asarray(index.asi8 % 1000 != 0))
    if timeframe is None:
        return
    step = timeframe.seconds if timeframe.is_daily else min(timeframe.seconds, _QUARTER_S)
    off = np.asarray(stamps % (step * 1_000_000) != 0)
    if timeframe.name in _HOURLY:
        wall = index.tz_convert(EXCHANGE_ZONE)
        off = off | ~_HOURLY[timeframe.name](np.asarray(60 * wall.hour + wall.minute))
    yield Rule("off grid", f"is not where a {timeframe} bar starts", off)


def _is_plainly_sound(stamps: np.ndarray, values: dict[str, np.ndarray]) -> bool:
    """Tell in a few steps that bars keep all of `_rules`, as nearly all do. False where it takes a closer look.

    Whatever is no number fails a comparison.
    """
    if not len(stamps):
        return False
    opens, highs, lows, closes = (values[name] for name in PRICES)
    volume, optional = values[VOLUME], [values[name] for name in OPTIONAL if name in values]
    return bool(
        stamps[0] >= _FIRST_US and stamps[-1] < _END_US and (stamps[1:] > stamps[:-1]).all()
        and (lows <= np.minimum(opens, closes)).all() and (highs >= np.maximum(opens, closes)).all()
        and lows.min() > 0 and highs.max() <= _MOST
        and volume.min() >= 0 and volume.max() < np.inf
        and not any((column < 0).any() or (column == np.inf).any() for column in optional)
    )  # fmt: skip


def _rules(stamps: np.ndarray, values: dict[str, np.ndarray]) -> Iterator[Rule]:
    """Give the rules on the bars' values and their order."""
    opens, highs, lows, closes = (values[name] for name in PRICES)
    prices, volume = np.array([opens, highs, lows, closes]), values[VOLUME]
    steps = np.diff(stamps, prepend=stamps[:1] - 1)
    missing = np.iinfo(np.int64).min  # how numpy writes NaT
    yield Rule("broken", "has no timestamp", stamps == missing)
    outside = (stamps < _FIRST_US) | (stamps >= _END_US)
    yield Rule("broken", "has a timestamp outside of the years 1900 to 2199", outside)
    yield Rule("duplicate", "has the same timestamp as the row before", steps == 0)
    yield Rule("broken", "lies before the row before it: bars must be sorted", steps < 0)
    yield Rule("broken", "has a price that is no finite number", ~np.isfinite(prices).all(axis=0))
    yield Rule("broken", "has a price that is not positive", prices.min(axis=0) <= 0)
    yield Rule("broken", f"has a price above {_MOST:,.0f}", prices.max(axis=0) > _MOST)
    lowest, highest = np.minimum(opens, closes), np.maximum(opens, closes)
    yield Rule("broken", "has a low above its open, close or high", lows > np.minimum(lowest, highs))
    yield Rule("broken", "has a high below its open or close", highs < highest)
    yield Rule("broken", "has a volume that is no finite number", ~np.isfinite(volume))
    yield Rule("broken", "has a negative volume", volume < 0)
    for name in OPTIONAL:
        if name in values:
            wrong = np.isinf(values[name]) | (values[name] < 0)
            yield Rule("broken", f"has a number under {name} that is infinite or negative", wrong)


def _refuse_first(rule: Rule, bars: pd.DataFrame) -> None:
    if not rule.broken.any():
        return
    row = int(np.argmax(rule.broken))
    numbers = ", ".join(f"{name} {bars[name].iloc[row]}" for name in REQUIRED)
    others = int(rule.broken.sum()) - 1
    more = f"; {others} more rows like it" if others else ""
    raise InvalidBars(f"row {row} ({bars.index[row]}) {rule.claim}: {numbers}{more}. Nothing was stored")
