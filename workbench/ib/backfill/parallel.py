"""The bars of many symbols at the same time, stored nowhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NoReturn

import pandas as pd

from workbench.errors import WorkbenchError
from workbench.ib.connection import IBDataManager
from workbench.ib.loop import await_done
from workbench.market.names import as_names

logger = logging.getLogger(__name__)


class Fetched(dict[str, pd.DataFrame]):
    """Bars by symbol. What could not be fetched is in `errors`, and looking it up raises its error."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, WorkbenchError] = {}

    def __missing__(self, symbol: str) -> NoReturn:
        raise self.errors.get(symbol) or KeyError(symbol)


def fetch_multiple_symbols_parallel(
    ib: IBDataManager,
    symbols: str | Sequence[str],
    timeframe: str,
    duration: str = "30 D",
    *,
    max_workers: int = 10,
    what_to_show: str = "TRADES",
    end: datetime | None = None,
    use_rth: bool = True,
) -> Fetched:
    """Return the complete bars of many symbols, fetched at the same time within IB's limits; nothing is stored.

    The arguments are those of `IBDataManager.fetch_historical_bars`. A symbol that fails does not stop the others.
    """

    def fetched(symbol: str) -> pd.DataFrame:
        return ib.fetch_historical_bars(symbol, timeframe, duration, what_to_show, end=end, use_rth=use_rth)

    bars = Fetched()
    with ThreadPoolExecutor(max_workers, thread_name_prefix="fetch") as pool:
        futures = {symbol: pool.submit(fetched, symbol) for symbol in as_names(symbols)}
        try:
            await_done(futures.values())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for symbol, future in futures.items():
        try:
            bars[symbol] = future.result()
        except WorkbenchError as error:
            logger.warning("%s", error)
            bars.errors[symbol] = error
    return bars
