"""What a cell asks for: bars, indicators, charts, the watchlist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from workbench.app.parts import DeskParts
from workbench.errors import InvalidInput
from workbench.market.names import as_names
from workbench.market.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    from workbench.display.charts import Chart
    from workbench.display.explorer import Explorer
    from workbench.display.live import LiveChart


class Looking(DeskParts):
    """Jobs that look at what is stored and change nothing."""

    @overload
    def chart(self, symbol: str, timeframe: str = ..., *, live: Literal[False] = ..., **choices: Any) -> Chart: ...

    @overload
    def chart(self, symbol: str, timeframe: str = ..., *, live: Literal[True], **choices: Any) -> LiveChart: ...

    def chart(self, symbol: str, timeframe: str = "15min", *, live: bool = False, **choices: Any) -> Chart | LiveChart:
        """Return a chart of the stored bars; with `live` one that moves with the live journal, whoever records.

        `choices` are those of `price_chart`, live those of `LiveChart`: panels, overlays, last, style, and others.
        """
        from workbench.display.charts import price_chart

        if live:
            return self.feed.open(symbol, timeframe, **({"source": self.store.source} | choices))
        study = self.indicators.calculate_indicators_cached(symbol, timeframe)
        given = {"symbol": symbol, "timeframe": timeframe, "source": self.store.source, "last": 260}
        return price_chart(study, **(given | choices))

    def explore(self, symbol: str = "", timeframe: str = "15min", **choices: Any) -> Explorer:
        """Return a chart of a stored series with controls to choose another; `choices` are those of `Explorer`."""
        from workbench.display.explorer import Explorer

        stored = [info for info in self.store.series() if info.what_to_show == "TRADES" and info.bars]
        symbols = [*as_names(symbol), *dict.fromkeys(info.symbol for info in stored)]
        lengths = [name for name in TIMEFRAMES if name in {info.timeframe for info in stored}]
        if not symbols or not lengths:
            raise InvalidInput("nothing is stored yet; run the notebook 01-backfill-history, or workbench backfill")
        chosen = [timeframe, *lengths] if timeframe in lengths else lengths
        study = self.indicators.calculate_indicators_cached
        return Explorer(
            study, list(dict.fromkeys(symbols)), list(dict.fromkeys(chosen)), source=self.store.source, **choices
        )
