"""Backfill: what is missing in the store is planned, forecast, fetched and saved, many requests at a time.

Each answer is saved with the interval it settles. A backfill that was ended, by Ctrl-C, a crash or a lost connection,
goes on where it was when it is called again; one that is called twice fetches nothing twice.

`wanted` says of which span bars are wanted, `job` is the whole, `fill` decides for one series, `runner` obeys,
`shelf` is the store as all of these use it.
"""

from workbench.ib.backfill.job import Backfill, download_historical_universe, plan_backfill, rebuild_symbol
from workbench.ib.backfill.parallel import Fetched, fetch_multiple_symbols_parallel
from workbench.ib.backfill.repair import repair
from workbench.ib.backfill.report import BackfillReport, SeriesReport
from workbench.ib.backfill.wanted import DEFAULT_TIMEFRAMES, Bound

__all__ = [
    "DEFAULT_TIMEFRAMES",
    "Backfill",
    "BackfillReport",
    "Bound",
    "Fetched",
    "SeriesReport",
    "download_historical_universe",
    "fetch_multiple_symbols_parallel",
    "plan_backfill",
    "rebuild_symbol",
    "repair",
]
