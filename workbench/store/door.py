"""The door of the store: of bars that keep all rules, those that look wrong are held back for review."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from workbench.errors import CorruptPart
from workbench.market.bars import PRICES, SCHEMA, TIMESTAMP
from workbench.market.coverage import Interval
from workbench.market.doubts import find_doubts
from workbench.market.sessions import session_calendar
from workbench.market.universe import Universe
from workbench.store.footer import Provenance
from workbench.store.parts import stamps_of
from workbench.store.review import Review, Sifted, moment_of, sift, to_rows
from workbench.store.series import Series

logger = logging.getLogger(__name__)

_AROUND_BARS, _AROUND = 60, timedelta(days=5)
"""How far the stored bars reach that a few new ones are compared with."""


class Door:
    """Where bars are let in or held back, for the series below one folder."""

    def __init__(self, data_dir: Path, universe: Universe) -> None:
        self.review = Review(data_dir)
        self._universe = universe

    def sift(self, series: Series, table: pa.Table, *, use_rth: bool) -> Sifted:
        """Part the bars that are stored from those that are held back. Nothing is written.

        Raises `InvalidBars` when they are bars of other hours.
        """
        timeframe = series.timeframe
        own_hours = self._universe.contract(series.symbol).kind == "index" and not timeframe.is_daily
        hours = None if own_hours else session_calendar(use_rth=use_rth)
        doubts = find_doubts(table, timeframe, hours, lambda: _around(series, table))
        if not doubts:
            return Sifted(table)
        judged = self.review.of(series.symbol, str(timeframe), series.what_to_show)
        return sift(table, doubts, judged, timeframe, session_calendar(use_rth=use_rth))

    def hold(self, series: Series, sifted: Sifted, provenance: Provenance) -> None:
        """Note what is held back, before the rest is stored."""
        if sifted.held.empty:
            return
        what, why = f"{series.symbol} {series.timeframe}", sifted.held["reason"].iloc[0]
        bars = "1 bar of %s is" if len(sifted.held) == 1 else f"{len(sifted.held)} bars of %s are"
        logger.warning(f"{bars} held back, see `workbench review`: %s", what, why)
        rows = to_rows(
            sifted.held,
            series.symbol,
            str(series.timeframe),
            series.what_to_show,
            use_rth=provenance.use_rth,
            source=provenance.source,
            judgement="held back",
        )
        self.review.note(rows)

    def settle(self, series: Series, sifted: Sifted, covers: Interval | None) -> None:
        """Forget what was held back and has been answered by what is stored now."""
        self.review.settle(series.symbol, str(series.timeframe), series.what_to_show, sifted, covers)


def _around(series: Series, table: pa.Table) -> pa.Table:
    """Return what is stored shortly before the bars and shortly after them."""
    stamps, reach = stamps_of(table), max(_AROUND, _AROUND_BARS * series.timeframe.length)
    first, last = moment_of(stamps[0]), moment_of(stamps[-1])
    spans = [(first - reach, first), (last + timedelta(microseconds=1), last + reach)]
    return pa.concat_tables([_readable(series, *span) for span in spans])


def _readable(series: Series, begin: datetime, end: datetime) -> pa.Table:
    """Return the stored prices of a span; none where some of it cannot be read, which a save is about to repair."""
    try:
        return series.load(begin, end, PRICES)
    except CorruptPart:
        return SCHEMA.empty_table().select([TIMESTAMP, *PRICES])
