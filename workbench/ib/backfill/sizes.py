"""How many bars a request may ask for: fewer after a time-out, more again while answers come fast.

Kept by timeframe, and remembered of each gateway: the same machine and the same subscription are as slow tomorrow.
"""

from __future__ import annotations

from workbench.ib.budget import Ledger
from workbench.ib.plan import MOST_BARS, HistoryRequest
from workbench.market.timeframes import Timeframe

FEWEST_BARS = 100
_FAST = 0.25
"""The share of the time-out within which an answer is fast: one twice as long would still be far from it."""


class RequestSizes:
    """The sizes that hold for one gateway.

    >>> from workbench.ib.budget import MemoryLedger
    >>> from workbench.ib.pacing import Pacer
    >>> from workbench.market.timeframes import TIMEFRAMES
    >>> sizes, request = RequestSizes(MemoryLedger(Pacer())), HistoryRequest(TIMEFRAMES["1min"], "10 D", bars=3900)
    >>> sizes.timed_out(request), sizes.of(TIMEFRAMES["1min"]), sizes.of(TIMEFRAMES["5min"])
    (True, 1950, 5000)
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._bars = ledger, ledger.sizes()

    def of(self, timeframe: Timeframe) -> int:
        """Return how many bars a request may ask for."""
        return min(self._bars.get(timeframe.name, MOST_BARS), MOST_BARS)

    def timed_out(self, request: HistoryRequest) -> bool:
        """Halve the size after a time-out; return whether that changed it. Many at once halve it once."""
        return self._change(request.timeframe, min(self.of(request.timeframe), max(FEWEST_BARS, request.bars // 2)))

    def answered(self, request: HistoryRequest, seconds: float, timeout_s: float) -> bool:
        """Double the size again after an answer that came fast; return whether that changed it."""
        size = self.of(request.timeframe)
        if seconds > _FAST * timeout_s:
            return False
        return self._change(request.timeframe, max(size, min(MOST_BARS, 2 * request.bars)))

    def _change(self, timeframe: Timeframe, bars: int) -> bool:
        if bars == self.of(timeframe):
            return False
        self._bars[timeframe.name] = bars
        self._ledger.remember_size(timeframe.name, bars)
        return True
