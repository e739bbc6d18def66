"""The workbench: settings in, parts out. The only place that wires everything.

`parts` has what a workbench consists of; `looking`, `screens` and `keeping` the jobs over them, by subject; `desk` is
the whole.
"""

from workbench.app.desk import Workbench, fetch_current_watchlist, load_current_universe, open_workbench

__all__ = ["Workbench", "fetch_current_watchlist", "load_current_universe", "open_workbench"]
