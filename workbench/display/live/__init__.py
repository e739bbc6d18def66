"""Live charts: a picture that moves in a notebook, and stands still on paper.

The drawing is done in the browser by TradingView's lightweight-charts, which is bundled when the package is built. The
kernel sends the history once, as numbers, and then a row for each bar that changes.
"""

from workbench.display.live.chart import LiveChart
from workbench.display.live.feed import LiveFeed

__all__ = ["LiveChart", "LiveFeed"]
