"""The bars of one series as they grow: stored ones, then live ones, with their indicators. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd

from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.frames import columns_of
from workbench.indicators.incremental import LiveIndicators
from workbench.market.aggregate import ProvisionalBar
from workbench.market.bars import COLUMNS, TIMESTAMP


class LiveSeries:
    """Complete bars of one series, and what its indicators make of them bar by bar.

    `stored` are the bars of history. A live bar counts when it is newer than all of them: what history has is final.
    """

    def __init__(self, engine: IndicatorEngine, stored: pd.DataFrame, live: Sequence[ProvisionalBar] = ()) -> None:
        self._engine = engine
        self._newest = int(stored.index[-1].timestamp()) if len(stored) else -1
        self.study = self._open(stored, live)

    def take(self, complete: Sequence[ProvisionalBar], forming: ProvisionalBar | None) -> list[Mapping[str, float]]:
        """Take in bars that are complete now; return them and the forming one, each with its indicators."""
        told: list[Mapping[str, float]] = []
        for bar in complete:
            if bar.timestamp > self._newest:
                values = bar._asdict()
                told.append(_marked(bar, self._indicators.update(values), is_forming=False))
                self._newest = bar.timestamp
        if forming is not None and forming.timestamp > self._newest:
            told.append(_marked(forming, self._indicators.peek(forming._asdict()), is_forming=True))
        return told

    def _open(self, stored: pd.DataFrame, live: Sequence[ProvisionalBar]) -> pd.DataFrame:
        newer = [bar for bar in live if bar.timestamp > self._newest]
        bars = stored.assign(missing=0.0)
        if newer:
            index = pd.DatetimeIndex([datetime.fromtimestamp(bar.timestamp, UTC) for bar in newer], name=TIMESTAMP)
            columns = {name: [float(getattr(bar, name)) for bar in newer] for name in COLUMNS}
            lacking = [float(bar.expected - bar.received) for bar in newer]
            fresh = pd.DataFrame(columns | {"missing": lacking}, index=index.as_unit("us"))
            bars = pd.concat([bars, fresh]) if len(bars) else fresh
        self._indicators = LiveIndicators(self._engine.suite, columns_of(bars, self._engine.suite))
        self._newest = newer[-1].timestamp if newer else self._newest
        return self._engine.calculate(bars)


def _marked(bar: ProvisionalBar, values: Mapping[str, float], *, is_forming: bool) -> Mapping[str, float]:
    lacking = 0.0 if is_forming else float(bar.expected - bar.received)
    prices = {name: getattr(bar, name) for name in ("timestamp", *COLUMNS)}
    return {**prices, **values, "forming": float(is_forming), "missing": lacking}
