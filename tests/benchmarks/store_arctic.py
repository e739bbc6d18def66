"""ArcticDB as a peer of the store's benchmark, in an environment of its own: it wants an older pandas.

Answers the commands on standard input with the seconds that each took and what it returned, as JSON, a line each.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from arcticdb import Arctic, ReadRequest

COLUMNS = ["open", "high", "low", "close", "volume", "average", "bar_count"]


def frame_of(file):
    with np.load(file) as saved:
        index = pd.DatetimeIndex(saved["timestamp"].view("datetime64[us]").astype("datetime64[ns]"), name="timestamp")
        return pd.DataFrame({name: saved[name] for name in COLUMNS}, index=index)


class Peer:
    """One library for the long series, one for the universe."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.arctic = Arctic(f"lmdb://{self.folder / 'lmdb'}?map_size=20GB")
        self.long = self.arctic.get_library("long", create_if_missing=True)
        self.many = self.arctic.get_library("many", create_if_missing=True)

    def write(self, library, symbol, file):
        getattr(self, library).write(symbol, frame_of(file))

    def append(self, file):
        """Replace what is stored of the day by the new bars, as the others do."""
        day = frame_of(file)
        began = time.perf_counter()
        self.long.update("SPY", day, prune_previous_versions=True)
        return time.perf_counter() - began, len(day), 0.0

    def read(self, begin, columns):
        began = time.perf_counter()
        dates = None if begin is None else (pd.Timestamp(begin), None)
        data = self.long.read("SPY", date_range=dates, columns=columns).data
        return time.perf_counter() - began, len(data), float(data["close"].sum())

    def read_many(self, symbols, begin):
        began = time.perf_counter()
        dates = (pd.Timestamp(begin), None)
        found = self.many.read_batch([ReadRequest(symbol, date_range=dates) for symbol in symbols])
        took = time.perf_counter() - began
        return took, sum(len(one.data) for one in found), float(sum(one.data["close"].sum() for one in found))

    def bytes(self):
        return 0.0, sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()), 0.0


peer = Peer(sys.argv[1])
for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(getattr(peer, name)(*arguments)), flush=True)
