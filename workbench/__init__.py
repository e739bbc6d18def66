"""A Jupyter-first research workbench for a momentum-reversal trader on Interactive Brokers.

    import workbench as wb

    desk = wb.open()
    desk.backfill(["AAPL", "MSFT"])
    bars = desk.store.load_bars("AAPL", "15min")

Without settings it works on the built-in gateway, a simulated market that speaks IB's protocol.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.app import Workbench, fetch_current_watchlist, load_current_universe
    from workbench.app import open_workbench as open  # noqa: A004  the name is the product's
    from workbench.display.charts import price_chart
    from workbench.errors import WorkbenchError
    from workbench.ib.backfill import download_historical_universe, fetch_multiple_symbols_parallel
    from workbench.ib.connection import IBDataManager
    from workbench.ib.dial import IBConnectionConfig
    from workbench.indicators.cache import IndicatorCache
    from workbench.indicators.checks import check_lookahead, check_warmup
    from workbench.indicators.define import own_indicator, talib_indicator
    from workbench.indicators.engine import IndicatorEngine
    from workbench.indicators.join import join_timeframes
    from workbench.market.aggregate import RealtimeBarAggregator
    from workbench.pipeline.figures import record
    from workbench.store.database import DatabaseManager
    from workbench.store.historical import HistoricalDataManager

__version__ = version("workbench")

_HOMES = {
    "DatabaseManager": "workbench.store.database",
    "HistoricalDataManager": "workbench.store.historical",
    "IBConnectionConfig": "workbench.ib.dial",
    "IBDataManager": "workbench.ib.connection",
    "IndicatorCache": "workbench.indicators.cache",
    "IndicatorEngine": "workbench.indicators.engine",
    "RealtimeBarAggregator": "workbench.market.aggregate",
    "Workbench": "workbench.app",
    "WorkbenchError": "workbench.errors",
    "check_lookahead": "workbench.indicators.checks",
    "check_warmup": "workbench.indicators.checks",
    "download_historical_universe": "workbench.ib.backfill",
    "fetch_current_watchlist": "workbench.app",
    "fetch_multiple_symbols_parallel": "workbench.ib.backfill",
    "join_timeframes": "workbench.indicators.join",
    "load_current_universe": "workbench.app",
    "open": "workbench.app",
    "own_indicator": "workbench.indicators.define",
    "price_chart": "workbench.display.charts",
    "record": "workbench.pipeline.figures",
    "talib_indicator": "workbench.indicators.define",
}

__all__ = [
    "DatabaseManager",
    "HistoricalDataManager",
    "IBConnectionConfig",
    "IBDataManager",
    "IndicatorCache",
    "IndicatorEngine",
    "RealtimeBarAggregator",
    "Workbench",
    "WorkbenchError",
    "check_lookahead",
    "check_warmup",
    "download_historical_universe",
    "fetch_current_watchlist",
    "fetch_multiple_symbols_parallel",
    "join_timeframes",
    "load_current_universe",
    "open",
    "own_indicator",
    "price_chart",
    "record",
    "talib_indicator",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: `workbench --help` and a kernel's start stay quick."""
    if name not in _HOMES:
        raise AttributeError(f"workbench has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), "open_workbench" if name == "open" else name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
