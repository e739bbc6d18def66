"""A tape that plays a folder of bars as they are.

The folder has `<SYMBOL>/<timeframe>.parquet`, each a file or a folder of parts. A timeframe that is there is
served as it is, float by float; another is aggregated from the next finer one. Where `average` is missing a bar gets
its typical price, (high + low + close) / 3, where `bar_count` is missing it gets 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workbench.errors import GatewayError
from workbench.gateway.aggregate import between, nothing, select, to_grid
from workbench.gateway.hours import hours
from workbench.gateway.tape import DAY, BarColumns, Block, Floats, Instrument, Seconds
from workbench.gateway.windows import Windows, one_by_one

TIMEFRAMES = {"1sec": 1, "5sec": 5, "1min": 60, "5min": 300, "15min": 900, "1hour": 3600, "4hour": 14_400, "1day": DAY}
INDICES = {"VIX": "CBOE", "SPX": "CBOE", "NDX": "NASDAQ", "RUT": "RUSSELL", "DJI": "CME", "DJX": "CBOE", "OEX": "CBOE"}
ETFS = frozenset({"DIA", "EEM", "GLD", "HYG", "IWM", "PPLT", "QQQ", "SLV", "SPY", "TLT", "XLE", "XLF", "XLK"})
PRICES = ("open", "high", "low", "close")
REQUIRED = ("timestamp", *PRICES, "volume")


class ReplayTape:
    """The bars of a folder. Files are read when first asked for, and kept."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise GatewayError(f"{folder} is not a folder; give one with <SYMBOL>/<timeframe>.parquet in it")
        self._files = _discover(folder)
        if not self._files:
            raise GatewayError(
                f"{folder} holds no <SYMBOL>/<timeframe>.parquet; timeframes are {', '.join(TIMEFRAMES)}"
            )
        self._loaded: dict[Path, BarColumns] = {}
        self._windows = Windows(self._batch)
        self._instruments = tuple(_instruments(sorted(self._files)))
        self.account = _account(folder.resolve())

    @property
    def instruments(self) -> Sequence[Instrument]:
        """One for each symbol's folder, in the order of the symbols."""
        return self._instruments

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        """Return the start of the earliest bar in epoch seconds, or None when there is none."""
        firsts = [self._first(symbol, step, use_rth=use_rth) for step in self._files[symbol]]
        return min((first for first in firsts if first is not None), default=None)

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds whose start lies in `[begin, end)`, in epoch seconds."""
        if step in self._files[symbol]:
            bars = between(self._load(symbol, step), begin, end)
            return in_regular_hours(bars) if use_rth and step < DAY else bars
        finer = max((it for it in self._files[symbol] if it < step), default=None)
        return nothing() if finer is None else self._aggregated(symbol, finer, step, begin, end, use_rth=use_rth)

    def window(self, symbols: Sequence[str], begin: int, end: int, *, use_rth: bool) -> Block:
        """Return the bars of five seconds of each symbol whose start lies in `[begin, end)`."""
        return self._windows.window(symbols, begin, end, use_rth=use_rth)

    def _batch(self, symbols: tuple[str, ...], begin: int, end: int, use_rth: bool) -> Block:  # noqa: FBT001
        return one_by_one(self, symbols, begin, end, use_rth=use_rth)

    def _aggregated(self, symbol: str, finer: int, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        calendar, source_begin, source_end = hours(), begin, end + step
        if step >= DAY:
            labelled = calendar.labelled(begin, end)
            if not labelled:
                return nothing()
            source_begin = calendar[labelled[0]].begin(use_rth=use_rth)
            source_end = calendar[labelled[-1]].end(use_rth=use_rth)
        parts = between(self._load(symbol, finer), source_begin, source_end)
        if not len(parts):
            return nothing()
        sessions = calendar.touching(int(parts.start[0]), int(parts.start[-1]) + 1, use_rth=use_rth)
        return between(to_grid(parts, calendar, sessions, step, use_rth=use_rth), begin, end)

    def _first(self, symbol: str, step: int, *, use_rth: bool) -> int | None:
        bars = self._load(symbol, step)
        if use_rth and step < DAY:
            bars = in_regular_hours(bars)
        if not len(bars):
            return None
        start = int(bars.start[0])
        session = hours().labelled(start, start + DAY) if step == DAY else range(0)
        return hours()[session[0]].begin(use_rth=use_rth) if session else start

    def _load(self, symbol: str, step: int) -> BarColumns:
        path = self._files[symbol][step]
        if path not in self._loaded:
            self._loaded[path] = read_bars(path)
        return self._loaded[path]


def _account(folder: Path) -> str:
    """Return the name of a folder's market; the digits tell folders of one name apart, for their bars must not mix."""
    name = re.sub(r"[^A-Z0-9]+", "-", folder.name.upper()).strip("-") or "FOLDER"
    return f"REPLAY-{name}-{crc32(str(folder).encode()):08X}"


def _discover(folder: Path) -> dict[str, dict[int, Path]]:
    """Return the files by symbol and step."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob("*/*.parquet")):
        step = TIMEFRAMES.get(path.stem)
        if step is not None:
            symbol = path.parent.name.removesuffix("_")  # CON is kept as CON_: Windows has CON for a device
            found.setdefault(symbol, {})[step] = path
    return found


def _instruments(symbols: Sequence[str]) -> list[Instrument]:
    instruments: dict[int, Instrument] = {}
    for symbol in symbols:
        con_id = crc32(symbol.encode()) & 0x7FFFFFFF or 1
        while con_id in instruments:  # two symbols of the same checksum: the later takes the next free id
            con_id += 1
        instruments[con_id] = _instrument(symbol, con_id)
    return list(instruments.values())


def _instrument(symbol: str, con_id: int) -> Instrument:
    if symbol in INDICES:
        return Instrument(con_id, symbol, "IND", INDICES[symbol], f"{symbol} INDEX", stock_type="",
                          time_zone="US/Central" if INDICES[symbol] == "CBOE" else "US/Eastern")  # fmt: skip
    is_etf = symbol in ETFS
    exchange = "ARCA" if is_etf and symbol != "QQQ" else "NASDAQ"
    return Instrument(con_id, symbol, "STK", exchange, symbol, stock_type="ETF" if is_etf else "COMMON")


def in_regular_hours(bars: BarColumns) -> BarColumns:
    """Return the bars that start in regular trading hours."""
    calendar = hours()
    session = np.searchsorted(calendar.opens, bars.start, side="right") - 1
    return select(bars, (session >= 0) & (bars.start < calendar.closes[session]))


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
