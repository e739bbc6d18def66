"""A tape that plays a folder of bars.

The folder has `<SYMBOL>/<timeframe>.parquet`, each a file or a folder of parts. What the files of a symbol hold is
served float by float, but where a longer one is held by shorter ones it is made of these: see `layers.py`. Where
`average` is missing a bar gets its typical price, (high + low + close) / 3, where `bar_count` is missing it gets 0.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from workbench.errors import GatewayError
from workbench.gateway.aggregate import between
from workbench.gateway.bar_files import TIMEFRAMES
from workbench.gateway.hours import hours
from workbench.gateway.layers import Layers
from workbench.gateway.tape import DAY, BarColumns, Block, Instrument
from workbench.gateway.windows import Windows, one_by_one

log = logging.getLogger(__name__)

INDICES = {"VIX": "CBOE", "SPX": "CBOE", "NDX": "NASDAQ", "RUT": "RUSSELL", "DJI": "CME", "DJX": "CBOE", "OEX": "CBOE"}
ETFS = frozenset({"DIA", "EEM", "GLD", "HYG", "IWM", "PPLT", "QQQ", "SLV", "SPY", "TLT", "XLE", "XLF", "XLK"})

REVISION = 2
"""Counts the changes that gave other bars of the same folder: a store must not mix the bars of two revisions."""

COMPARED_AT_ONCE = 64 << 20
"""Bytes of files that are compared with one another at the start, a second's work; others when they are asked for."""


class ReplayTape:
    """The bars of a folder. Files are read when first asked for, and kept."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise GatewayError(f"{folder} is not a folder; give one with <SYMBOL>/<timeframe>.parquet in it")
        self._layers = {symbol: Layers(symbol, files) for symbol, files in _discover(folder).items()}
        if not self._layers:
            raise GatewayError(
                f"{folder} holds no <SYMBOL>/<timeframe>.parquet; timeframes are {', '.join(TIMEFRAMES)}"
            )
        self._windows = Windows(self._batch)
        self._instruments = tuple(_instruments(self._layers))
        self.account = _account(folder.resolve())

    @property
    def instruments(self) -> Sequence[Instrument]:
        """One for each symbol's folder, in the order of the symbols."""
        return self._instruments

    def examine(self) -> None:
        """Log by name which symbols cannot be streamed, and which files disagree. Raises GatewayError."""
        mute = [symbol for symbol, layers in sorted(self._layers.items()) if not layers.streams]
        if mute:
            log.warning("no 5sec bars of %s: their real-time bars and ticks are refused", ", ".join(mute))
        total = 0
        for layers in sorted(self._layers.values(), key=lambda it: not it.streams):
            total += sum(_size(path) for path in layers.files.values())
            if total > COMPARED_AT_ONCE:
                return
            layers.compare()

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        """Return the start of the earliest bar in epoch seconds, or None when there is none."""
        firsts = [self._first(symbol, step, use_rth=use_rth) for step in self._layers[symbol].files]
        return min((first for first in firsts if first is not None), default=None)

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds whose start lies in `[begin, end)`, in epoch seconds."""
        return between(self._layers[symbol].bars(step, use_rth=use_rth), begin, end)

    def window(self, symbols: Sequence[str], begin: int, end: int, *, use_rth: bool) -> Block:
        """Return the bars of five seconds of each symbol whose start lies in `[begin, end)`."""
        return self._windows.window(symbols, begin, end, use_rth=use_rth)

    def _batch(self, symbols: tuple[str, ...], begin: int, end: int, use_rth: bool) -> Block:  # noqa: FBT001
        return one_by_one(self, symbols, begin, end, use_rth=use_rth)

    def _first(self, symbol: str, step: int, *, use_rth: bool) -> int | None:
        bars = self._layers[symbol].bars(step, use_rth=use_rth)
        if not len(bars):
            return None
        start = int(bars.start[0])
        session = hours().labelled(start, start + DAY) if step == DAY else range(0)
        return hours()[session[0]].begin(use_rth=use_rth) if session else start


def _size(path: Path) -> int:
    """Return the bytes of a file, or of a folder of parts."""
    return sum(it.stat().st_size for it in path.iterdir()) if path.is_dir() else path.stat().st_size


def _account(folder: Path) -> str:
    """Return the name of a folder's market; the digits tell folders of one name apart, for their bars must not mix."""
    name = re.sub(r"[^A-Z0-9]+", "-", folder.name.upper()).strip("-") or "FOLDER"
    return f"REPLAY-{name}-{crc32(f'{folder} {REVISION}'.encode()):08X}"


def _discover(folder: Path) -> dict[str, dict[int, Path]]:
    """Return the files by symbol and step."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob("*/*.parquet")):
        step = TIMEFRAMES.get(path.stem)
        if step is not None:
            symbol = path.parent.name.removesuffix("_")  # CON is kept as CON_: Windows has CON for a device
            found.setdefault(symbol, {})[step] = path
    return found


def _instruments(layers: Mapping[str, Layers]) -> list[Instrument]:
    instruments: dict[int, Instrument] = {}
    for symbol in sorted(layers):
        con_id = crc32(symbol.encode()) & 0x7FFFFFFF or 1
        while con_id in instruments:  # two symbols of the same checksum: the later takes the next free id
            con_id += 1
        instruments[con_id] = replace(_instrument(symbol, con_id), streams=layers[symbol].streams)
    return list(instruments.values())


def _instrument(symbol: str, con_id: int) -> Instrument:
    if symbol in INDICES:
        return Instrument(con_id, symbol, "IND", INDICES[symbol], f"{symbol} INDEX", stock_type="",
                          time_zone="US/Central" if INDICES[symbol] == "CBOE" else "US/Eastern")  # fmt: skip
    is_etf = symbol in ETFS
    exchange = "ARCA" if is_etf and symbol != "QQQ" else "NASDAQ"
    return Instrument(con_id, symbol, "STK", exchange, symbol, stock_type="ETF" if is_etf else "COMMON")
