"""ArcticDB as a peer of the store's benchmark, in an environment of its own: it wants an older pandas."""

import sys
from pathlib import Path

import pandas as pd
from arcticdb import Arctic, ReadRequest

from tests.benchmarks.store_serving import LONG, FolderPeer, serve


def accepted(bars):
    """It knows no time zone, and nanoseconds only."""
    bars.index = bars.index.tz_localize(None).astype("datetime64[ns]")
    return bars


def since(begin):
    return None if begin is None else (pd.Timestamp(begin).tz_localize(None), None)


class ArcticDB(FolderPeer):
    """One library for the long series, one for the universe."""

    def __init__(self, folder):
        super().__init__(folder)
        self.arctic = Arctic(f"lmdb://{folder / 'lmdb'}?map_size=20GB")
        self.long = self.arctic.get_library("long", create_if_missing=True)
        self.many = self.arctic.get_library("many", create_if_missing=True)

    def write(self, symbol, timeframe, bars):
        (self.long if timeframe == "1min" else self.many).write(symbol, bars)

    def append(self, day):
        """Replace what is stored of the day by the new bars, as the others do."""
        self.long.update(LONG, day, prune_previous_versions=True)
        return len(day)

    def read(self, begin, columns):
        return self.long.read(LONG, date_range=since(begin), columns=columns).data

    def read_many(self, symbols, begin):
        dates = since(begin)
        return [one.data for one in self.many.read_batch([ReadRequest(symbol, date_range=dates) for symbol in symbols])]


serve(ArcticDB(Path(sys.argv[1])), accepted)
