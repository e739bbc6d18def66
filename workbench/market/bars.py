"""Bars: their columns, their types, and the rules that every set of bars keeps.

In pandas the timestamp is the index; in Arrow, and so in parquet, it is a column. A timestamp is the left edge of
its bar in UTC; a daily bar carries its session's date at 00:00 UTC. Prices are in the contract's currency, volume
in shares.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.errors import InvalidBars

TIMESTAMP = "timestamp"
PRICES = ("open", "high", "low", "close")
VOLUME = "volume"
REQUIRED = (*PRICES, VOLUME)
OPTIONAL = ("average", "bar_count")
"""Volume-weighted price and number of trades: NaN where IB does not give them."""

COLUMNS = (*REQUIRED, *OPTIONAL)
STAMP_TYPE = pa.timestamp("us", tz="UTC")
INDEX_DTYPE = "datetime64[us, UTC]"
SCHEMA = pa.schema(
    [pa.field(TIMESTAMP, STAMP_TYPE, nullable=False)]
    + [pa.field(name, pa.float64(), nullable=False) for name in REQUIRED]
    + [pa.field(name, pa.float64()) for name in OPTIONAL]
)


def empty_bars() -> pd.DataFrame:
    """Return a frame of no bars, with every column."""
    return to_frame(SCHEMA.empty_table())


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table of bars as a pandas frame; absent columns stay absent."""
    columns = {
        name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names if name != TIMESTAMP
    }
    stamps = table.column(TIMESTAMP).cast(pa.int64()).to_numpy()
    index = pd.DatetimeIndex(stamps.view("datetime64[us]"), name=TIMESTAMP).tz_localize("UTC")
    return pd.DataFrame(columns, index=index)


def to_table(bars: pd.DataFrame) -> pa.Table:
    """Return bars as an Arrow table with the schema of the store.

    Raises `InvalidBars`, naming the row, when the bars break a rule of the data model: a timestamp index in UTC,
    sorted and without duplicates; finite, positive prices; low ≤ open, close ≤ high; a finite volume ≥ 0.
    """
    _check_shape(bars)
    index = bars.index
    assert isinstance(index, pd.DatetimeIndex)  # noqa: S101  _check_shape has refused anything else
    values = {name: _floats(bars, name) for name in COLUMNS if name in bars.columns}
    stamps = index.tz_convert("UTC").as_unit("us")
    if not (stamps.as_unit(index.unit) == index).all():
        raise InvalidBars("timestamps finer than a microsecond cannot be stored")
    for claim, broken in _rules(stamps.asi8, values):
        _refuse_first(broken, claim, bars)
    arrays = [pa.array(stamps.asi8).cast(STAMP_TYPE)]
    for name in COLUMNS:
        column = values.get(name)
        arrays.append(pa.nulls(len(bars), pa.float64()) if column is None else pa.array(column, from_pandas=True))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _check_shape(bars: pd.DataFrame) -> None:
    if not isinstance(bars, pd.DataFrame):
        raise InvalidBars(f"bars come as a pandas DataFrame, not as {type(bars).__name__}")
    missing = [name for name in REQUIRED if name not in bars.columns]
    if missing:
        raise InvalidBars(f"the columns {', '.join(missing)} are missing; bars have {', '.join(COLUMNS)}")
    if not bars.columns.is_unique:
        raise InvalidBars("a column occurs twice")
    if not isinstance(bars.index, pd.DatetimeIndex):
        raise InvalidBars(f"the index holds {bars.index.dtype}; it must be the bars' start as timestamps in UTC")
    if bars.index.tz is None:
        raise InvalidBars(
            f"the timestamps have no time zone (the first row is {bars.index[0]}); say which one they are in, "
            "for example bars.tz_localize('America/New_York')"
            if len(bars)
            else "the timestamps have no time zone"
        )


def _floats(bars: pd.DataFrame, name: str) -> np.ndarray:
    try:
        return bars[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InvalidBars(f"the column {name} holds something that is no number: {error}") from error


def _rules(stamps: np.ndarray, values: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return each rule with the rows that break it."""
    opens, highs, lows, closes = (values[name] for name in PRICES)
    prices, volume = np.array([opens, highs, lows, closes]), values[VOLUME]
    steps = np.diff(stamps, prepend=stamps[:1] - 1)
    missing = np.iinfo(np.int64).min  # how numpy writes NaT
    return [
        ("has no timestamp", stamps == missing),
        ("has the same timestamp as the row before", steps == 0),
        ("lies before the row before it: bars must be sorted", steps < 0),
        ("has a price that is no finite number", ~np.isfinite(prices).all(axis=0)),
        ("has a price that is not positive", (prices <= 0).any(axis=0)),
        ("has a low above its open, close or high", lows > np.minimum(np.minimum(opens, closes), highs)),
        ("has a high below its open or close", highs < np.maximum(opens, closes)),
        ("has a volume that is no finite number", ~np.isfinite(volume)),
        ("has a negative volume", volume < 0),
    ]


def _refuse_first(broken: np.ndarray, claim: str, bars: pd.DataFrame) -> None:
    if not broken.any():
        return
    row = int(np.argmax(broken))
    numbers = ", ".join(f"{name} {bars[name].iloc[row]}" for name in REQUIRED)
    others = int(broken.sum()) - 1
    more = f"; {others} more rows like it" if others else ""
    raise InvalidBars(f"row {row} ({bars.index[row]}) {claim}: {numbers}{more}. Nothing was stored")
