"""Repair: what a check found wrong is fetched again, and nothing else."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from workbench.errors import StoreError
from workbench.ib.backfill.report import BackfillReport
from workbench.market.coverage import Coverage, Interval
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality import Finding

logger = logging.getLogger(__name__)

_Key = tuple[str, str, str]


class BackfillOne(Protocol):
    """What fetches and stores what is missing of one series within an interval."""

    def __call__(
        self, symbol: str, timeframe: str, within: Interval, *, what_to_show: str, use_rth: bool
    ) -> BackfillReport:
        """Fetch it."""


def repair(store: HistoricalDataManager, findings: Iterable[Finding], backfill: BackfillOne) -> list[BackfillReport]:
    """Fetch again what the findings name, series by series; return what came of it.

    Their intervals are taken out of the coverage first, so whatever goes wrong afterwards, the next backfill asks for
    them again; their bars stay until others are there. Files that cannot be read are kept aside. Findings that a fetch
    cannot mend are left alone.
    """
    chosen = list(findings)
    hours = {(one.symbol, one.timeframe, one.what_to_show): one.use_rth for one in store.series()}
    unreadable = {_key(one) for one in chosen if one.kind == "unreadable"}
    lost = {key: _set_aside(store, key, use_rth=hours[key]) for key in unreadable}
    wanted = _wanted(one for one in chosen if one.kind != "unreadable")
    spans = {key: wanted.get(key, Coverage()) | lost.get(key, Coverage()) for key in {*wanted, *lost}}
    return [_refetch(store, key, spans[key], backfill, use_rth=hours[key]) for key in sorted(spans) if spans[key]]


def _key(finding: Finding) -> _Key:
    return finding.symbol, finding.timeframe, finding.what_to_show


def _set_aside(store: HistoricalDataManager, key: _Key, *, use_rth: bool) -> Coverage:
    """Keep aside what cannot be read of a series, reading all of it; return the time that is lost thereby.

    What may not be read, or is not ours to repair, is told and left to the next check; the other series are mended.
    """
    symbol, timeframe, what_to_show = key
    try:
        store.set_aside_corrupt(
            symbol, timeframe, source=store.source or "", what_to_show=what_to_show, use_rth=use_rth, pages=True
        )
        return store.known_info(symbol, timeframe, what_to_show=what_to_show).lost
    except StoreError as error:
        logger.warning("%s %s was not repaired: %s", symbol, timeframe, error)
        return Coverage()


def _wanted(findings: Iterable[Finding]) -> dict[_Key, Coverage]:
    """Return what is fetched again of each series; where two disagree, of both."""
    wanted: defaultdict[_Key, list[Interval]] = defaultdict(list)
    for one in findings:
        if one.is_refetched:
            for timeframe in filter(None, (one.told_by, one.timeframe)):
                wanted[one.symbol, timeframe, one.what_to_show].append(one.interval)
    return {key: Coverage(spans) for key, spans in wanted.items()}


def _refetch(
    store: HistoricalDataManager, key: _Key, spans: Coverage, backfill: BackfillOne, *, use_rth: bool
) -> BackfillReport:
    symbol, timeframe, what_to_show = key
    for span in spans:
        store.forget(symbol, timeframe, span, what_to_show=what_to_show)
    within = Interval(min(span.begin for span in spans), max(span.end for span in spans))
    return backfill(symbol, timeframe, within, what_to_show=what_to_show, use_rth=use_rth)
