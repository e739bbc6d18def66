"""The store as a backfill uses it: what is missing of a series, and where its answers go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from workbench.errors import Disconnected
from workbench.ib.backfill.basis import refuse_other_basis
from workbench.ib.backfill.fill import SeriesFill
from workbench.ib.connection import IBDataManager
from workbench.ib.plan import complete_until
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import Timeframe
from workbench.store.footer import SHARES
from workbench.store.historical import HistoricalDataManager
from workbench.store.merge import SaveReport
from workbench.store.seriesinfo import SeriesInfo


@dataclass(frozen=True, slots=True)
class Prices:
    """Which prices of which hours."""

    what_to_show: str = "TRADES"
    use_rth: bool = True


class Shelf:
    """The store as a backfill uses it."""

    def __init__(
        self, store: HistoricalDataManager, source: str, prices: Prices, now: datetime, *, overlap: bool
    ) -> None:
        self.prices, self.source = prices, source
        self.gateway_version = self.volume_unit = ""
        self.store, self._now, self._overlap = store, now, overlap
        self._calendar = session_calendar(use_rth=prices.use_rth)

    def prepare(self, fill: SeriesFill) -> None:
        """Refuse what must not mix, and say what is missing. Nothing is changed."""
        self.store.refuse_others(
            fill.symbol,
            str(fill.timeframe),
            source=self.source,
            what_to_show=self.prices.what_to_show,
            use_rth=self.prices.use_rth,
            volume_unit=self._info(fill).volume_unit or SHARES,
        )
        fill.open(self.missing(fill))
        fill.first_bar = self._info(fill).first

    def set_aside_corrupt(self, fill: SeriesFill) -> None:
        """Put aside what of a series cannot be read: it is fetched again."""
        fill.saved += self.store.set_aside_corrupt(
            fill.symbol,
            str(fill.timeframe),
            source=self.source,
            what_to_show=self.prices.what_to_show,
            use_rth=self.prices.use_rth,
            as_of=complete_until(self._now, fill.timeframe, self._calendar),
            volume_unit=self._info(fill).volume_unit or self._unit(fill),
        )

    def know(self, ib: IBDataManager) -> None:
        """Learn what is recorded with the bars: the gateway's version, and what its volumes of stocks count."""
        with suppress(Disconnected):  # then nothing will be fetched either
            self.gateway_version = ib.gateway_version
            self.volume_unit = ib.volume_unit() if self.prices.what_to_show == "TRADES" else ""

    def _unit(self, fill: SeriesFill) -> str:
        """Return what the volumes of a series count; where that is not known, what they counted before, else shares."""
        is_stock = self.store.universe.contract(fill.symbol).kind != "index"
        return (self.volume_unit if is_stock else "") or self._info(fill).volume_unit or SHARES

    def save(self, fill: SeriesFill, bars: pd.DataFrame, spans: Sequence[tuple[Interval, bool]]) -> SaveReport:
        """Save the bars of some spans; those that are settled become covered."""
        report = SaveReport()
        refuse_other_basis(self.store, fill.symbol, str(fill.timeframe), bars, self.prices.what_to_show)
        unit = self._unit(fill)
        for span, is_settled in spans:
            report += self.store.save_bars(
                fill.symbol,
                str(fill.timeframe),
                bars[(bars.index >= span.begin) & (bars.index < span.end)],
                what_to_show=self.prices.what_to_show,
                use_rth=self.prices.use_rth,
                source=bars.attrs.get("source", self.source),
                covers=span if is_settled else None,
                volume_unit=unit,
                gateway_version=self.gateway_version,
            )
        return report

    def missing(self, fill: SeriesFill) -> Coverage:
        """Return what of a series is wanted and not stored, or stored where it cannot be read."""
        if fill.wanted is None:
            return Coverage()
        held = self._info(fill).coverage
        if self._overlap and len(held):
            held = held.clip(fill.wanted.begin, self._last_session(list(held)[-1], fill.timeframe))
        return held.missing(fill.wanted)

    def _info(self, fill: SeriesFill) -> SeriesInfo:
        return self.store.known_info(fill.symbol, str(fill.timeframe), what_to_show=self.prices.what_to_show)

    def _last_session(self, newest: Interval, timeframe: Timeframe) -> datetime:
        """Return the begin of the last session of which something is stored."""
        near = self._calendar.during(max(newest.begin, newest.end - timedelta(days=14)), newest.end, timeframe)
        if not near:
            return newest.end
        return near[-1].label_utc if timeframe.is_daily else near[-1].begin
