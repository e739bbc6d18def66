"""Live five-second bars into longer ones, bar by bar. Pure: the time is an argument.

The rules:

- Bars are cut on the exchange's clock and clipped at the session's open and close, as IB's history is.
- A five-second bar in which nobody traded repeats the last price: where a longer bar has trades, it sets neither open
  nor high nor low nor close. Where none of its bars has trades, all count. An index trades when it is updated.
- A bar is complete when its last five-second bar has come, when a later one has, or when the clock has passed its end
  by the grace time. How many of its five-second bars came, of how many, is part of it.
- Bars come in order. One that is no newer than the newest is not added but kept among `late`: what it belongs to is
  made anew by `rebuild` from all five-second bars of the session.

Each five-second bar touches the forming minute only; a complete minute feeds the five minutes, those the quarter hour,
and so on. `workbench.market.aggregate.batch` does the same over whole columns.
"""

from workbench.market.aggregate.levels import LateBar, ProvisionalBar
from workbench.market.aggregate.live import RealtimeBarAggregator

__all__ = ["LateBar", "ProvisionalBar", "RealtimeBarAggregator"]
