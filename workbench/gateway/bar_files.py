"""Files of bars, read into columns: parquet, one file or a folder of parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.errors import GatewayError
from workbench.gateway.aggregate import select
from workbench.gateway.tape import DAY, BarColumns, Floats, Seconds

TIMEFRAMES = {"1sec": 1, "5sec": 5, "1min": 60, "5min": 300, "15min": 900, "1hour": 3600, "4hour": 14_400, "1day": DAY}
PRICES = ("open", "high", "low", "close")
REQUIRED = ("timestamp", *PRICES, "volume")


def timeframe(step: int) -> str:
    """Return what bars of so many seconds are called.

    >>> timeframe(300)
    '5min'
    """
    return next(name for name, it in TIMEFRAMES.items() if it == step)


def read_bars(path: Path) -> BarColumns:
    """Read a parquet file, or a folder of parts, sorted by time. Raises GatewayError, which names the file."""
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise GatewayError(f"{path} cannot be read as parquet: {error}") from error
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise GatewayError(f"{path} lacks the columns {', '.join(missing)}")
    columns = {name: _complete(table, name, path) for name in (*PRICES, "volume")}
    average, count = _floats(table, "average", path), _floats(table, "bar_count", path)
    typical = (columns["high"] + columns["low"] + columns["close"]) / 3
    bars = BarColumns(
        start=_starts(table, path),
        **columns,
        average=np.where(np.isnan(average), typical, average),
        count=np.where(np.isnan(count), 0, count).astype(np.int64),
    )
    return _sorted(bars, path)


def _complete(table: pa.Table, name: str, path: Path) -> Floats:
    values = _floats(table, name, path)
    if not np.isfinite(values).all():
        raise GatewayError(f"{path}: column {name} has empty or infinite values")
    return values


def _floats(table: pa.Table, name: str, path: Path) -> Floats:
    """Return a column, NaN where it is empty or where there is none."""
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    try:
        values: Floats = table[name].cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise GatewayError(f"{path}: column {name} holds no numbers: {error}") from error
    return values


def _starts(table: pa.Table, path: Path) -> Seconds:
    kind = table.schema.field("timestamp").type
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise GatewayError(f"{path}: column timestamp is {kind}, not a timestamp with a time zone")
    if table["timestamp"].null_count:
        raise GatewayError(f"{path}: column timestamp has empty values")
    seconds = pc.cast(table["timestamp"], pa.timestamp("s", tz="UTC"), safe=False)
    starts: Seconds = seconds.cast(pa.int64()).to_numpy()
    return starts


def _sorted(bars: BarColumns, path: Path) -> BarColumns:
    """Return bars in the order of time; parts of a folder come in the order of their names."""
    order = np.argsort(bars.start, kind="stable")
    ordered = select(bars, order)
    if (np.diff(ordered.start) == 0).any():
        raise GatewayError(f"{path} has two bars with the same timestamp")
    return ordered
