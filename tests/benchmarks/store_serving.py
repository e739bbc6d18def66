"""How a peer of the store's benchmark answers, in a process of its own that nothing of the others slows down.

A peer has `write(symbol, timeframe, bars)`, `settle()`, `append(day)`, `read(begin, columns)`, `read_many(symbols,
begin)` and `bytes()`. Commands come on standard input and answers leave on standard output, as JSON, a line each: the
seconds that the peer took by its own clock, how many rows it gave, and the sum of their closes. What has to be done to
hand bars over, or to count them, is in nobody's time.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LONG = "SPY"
"""The symbol of the long series."""
COLUMNS = ["open", "high", "low", "close", "volume", "average", "bar_count"]


class FolderPeer:
    """A peer that keeps all it has in a folder, and leaves what is written as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settle(self) -> None:
        """Put what was written into its lasting form."""

    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def serve(peer: Any, accept: Callable[[pd.DataFrame], Any] = lambda bars: bars) -> None:
    """Do what is asked until there is no more; `accept` makes of a frame in UTC what the peer takes as bars."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        if name in ("write", "append"):
            arguments[-1] = accept(load_bars(Path(arguments[-1])))
        elif name == "read":
            arguments[0] = arguments[0] and datetime.fromisoformat(arguments[0])
        elif name == "read_many":
            arguments[1] = datetime.fromisoformat(arguments[1])
        began = time.perf_counter()
        found = getattr(peer, name)(*arguments)
        took = time.perf_counter() - began
        print(json.dumps([took, *answer_of(found)]), flush=True)


def answer_of(found: Any) -> tuple[int, float]:
    """Return the rows and the sum of the closes of one frame or several; of a number only that."""
    if found is None or isinstance(found, int):
        return found or 0, 0.0
    frames = found if isinstance(found, list) else [found]
    return sum(map(len, frames)), float(sum(frame["close"].sum() for frame in frames))


def keep_bars(path: Path, bars: pd.DataFrame) -> str:
    """Put bars into a file of numpy arrays, which another version of pandas reads, too; return its path."""
    stamps = bars.index.as_unit("us").asi8  # type: ignore[attr-defined]
    np.savez(path, timestamp=stamps, **{name: bars[name].to_numpy() for name in COLUMNS})
    return str(path)


def load_bars(path: Path) -> pd.DataFrame:
    """Return the bars that `keep_bars` put into a file, indexed in UTC."""
    with np.load(path) as saved:
        index = pd.DatetimeIndex(saved["timestamp"].view("datetime64[us]"), name="timestamp").tz_localize("UTC")
        return pd.DataFrame({name: saved[name] for name in COLUMNS}, index=index)
