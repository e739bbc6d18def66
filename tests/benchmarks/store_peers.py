"""Our store and its peers of the benchmark, as they answer the same questions; `python -m` serves one of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl

from tests.benchmarks.store_serving import LONG, FolderPeer, serve
from workbench.market.bars import COLUMNS
from workbench.market.contracts import Contract
from workbench.market.coverage import Interval
from workbench.market.universe import Universe
from workbench.store.historical import HistoricalDataManager

MANY = [f"S{number:03}" for number in range(1000)]
"""The symbols there may be beside the long one."""


class Ours(FolderPeer):
    """This store, through its public face: validation, lock and fsync included."""

    name = "ours"

    def __init__(self, folder: Path, symbols: Sequence[str] = MANY) -> None:
        super().__init__(folder)
        universe = Universe([Contract(symbol) for symbol in (LONG, *symbols)])
        self.store = HistoricalDataManager(folder, universe=universe)

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        self.store.save_bars(symbol, timeframe, bars, covers=_span(bars))

    def settle(self) -> None:
        self.store.compact()

    def append(self, day: pd.DataFrame) -> int:
        self.store.save_bars(LONG, "1min", day, covers=_span(day))
        return len(day)

    def read(self, begin: datetime | None, columns: list[str] | None) -> pd.DataFrame:
        return self.store.load_bars(LONG, "1min", begin, columns=columns)

    def read_many(self, symbols: Sequence[str], begin: datetime) -> pl.DataFrame:
        return self.store.load_many(symbols, "15min", begin)


class Seed(FolderPeer):
    """The specification's `HistoricalDataManager`, as it stands there."""

    name = "seed"

    def path(self, symbol: str, timeframe: str) -> Path:
        return self.folder / "stocks" / symbol / f"{timeframe}.parquet"

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        path = self.path(symbol, timeframe)
        path.parent.mkdir(parents=True, exist_ok=True)
        bars.reset_index().to_parquet(path, engine="pyarrow", compression="snappy", index=False)

    def load(self, symbol: str, timeframe: str) -> pd.DataFrame:
        return pd.read_parquet(self.path(symbol, timeframe), engine="pyarrow").set_index("timestamp")

    def append(self, day: pd.DataFrame) -> int:
        combined = pd.concat([self.load(LONG, "1min"), day])
        combined = combined[~combined.index.duplicated(keep="last")].sort_index()
        self.write(LONG, "1min", combined)
        return len(day)

    def read(self, begin: datetime | None, columns: list[str] | None) -> pd.DataFrame:
        bars = self.load(LONG, "1min")
        bars = bars if begin is None else bars[bars.index >= begin]
        return bars if columns is None else bars[columns]

    def read_many(self, symbols: Sequence[str], begin: datetime) -> pd.DataFrame:
        loaded = [self.load(symbol, "15min") for symbol in symbols]
        return pd.concat([bars[bars.index >= begin] for bars in loaded])


class Polars(FolderPeer):
    """One file a series as polars writes it; read lazily, rewritten whole."""

    name = "polars"

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        pl.from_pandas(bars.reset_index()).write_parquet(self.folder / f"{symbol}-{timeframe}.parquet")

    def append(self, day: pd.DataFrame) -> int:
        path = self.folder / f"{LONG}-1min.parquet"
        both = pl.concat([pl.read_parquet(path), pl.from_pandas(day.reset_index())], how="vertical_relaxed")
        both.unique("timestamp", keep="last").sort("timestamp").write_parquet(path)
        return len(day)

    def read(self, begin: datetime | None, columns: list[str] | None) -> pl.DataFrame:
        scanned = pl.scan_parquet(self.folder / f"{LONG}-1min.parquet")
        scanned = scanned if begin is None else scanned.filter(pl.col("timestamp") >= begin)
        return (scanned if columns is None else scanned.select("timestamp", *columns)).collect()

    def read_many(self, symbols: Sequence[str], begin: datetime) -> pl.DataFrame:
        files = [self.folder / f"{symbol}-15min.parquet" for symbol in symbols]
        return pl.scan_parquet(files, include_file_paths="file").filter(pl.col("timestamp") >= begin).collect()


class DuckDB(FolderPeer):
    """Tables of one database file, which one process at a time may write; read into Arrow."""

    name = "DuckDB"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.database = duckdb.connect(str(folder / "bars.db"))
        columns = ", ".join(f"{name} double" for name in COLUMNS)
        self.database.execute("set timezone = 'UTC'")
        for table in ("long", "many"):
            self.database.execute(f"create table {table} (symbol varchar, timestamp timestamptz, {columns})")

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        rows = bars.reset_index()  # noqa: F841  named in the statement
        table = "long" if timeframe == "1min" else "many"
        self.database.execute(f"insert into {table} select '{symbol}', * from rows")

    def settle(self) -> None:
        self.database.execute("checkpoint")

    def append(self, day: pd.DataFrame) -> int:
        rows = day.reset_index()  # noqa: F841  named in the statement
        self.database.execute("begin")
        self.database.execute("delete from long where timestamp between ? and ?", [day.index[0], day.index[-1]])
        self.database.execute(f"insert into long select '{LONG}', * from rows")
        self.database.execute("commit")
        return len(day)

    def read(self, begin: datetime | None, columns: list[str] | None) -> Any:
        wanted = ", ".join(["timestamp", *(columns or COLUMNS)])
        since = "" if begin is None else f"where timestamp >= '{begin.isoformat()}'"
        return pl.from_arrow(self.database.sql(f"select {wanted} from long {since}").to_arrow_table())

    def read_many(self, symbols: Sequence[str], begin: datetime) -> Any:
        found = self.database.sql(f"select * from many where timestamp >= '{begin.isoformat()}'")
        return pl.from_arrow(found.to_arrow_table())

    def bytes(self) -> int:
        self.database.execute("checkpoint")
        return super().bytes()


def _span(bars: pd.DataFrame) -> Interval:
    return Interval(bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime() + timedelta(minutes=1))


PEERS: dict[str, Any] = {peer.name: peer for peer in (Ours, Seed, Polars, DuckDB)}

if __name__ == "__main__":
    serve(PEERS[sys.argv[1]](Path(sys.argv[2])))
