"""Quality: what is wrong with the stored bars, or looks so. One module a kind of check.

A check takes one series as a `Subject` and gives its findings; `CHECKS` lists them, and one more is one more line. The
timeframes of a symbol are compared with each other afterwards. Nothing here changes the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby

import numpy as np
import pandas as pd

from workbench.errors import InvalidInput, StoreError
from workbench.market.bars import REQUIRED
from workbench.market.contracts import check_symbol
from workbench.market.sessions import parse_bound, session_calendar
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.parts import to_micros
from workbench.store.quality.agreement import find_disagreements, pairs
from workbench.store.quality.findings import Finding, QualityReport
from workbench.store.quality.gaps import find_gaps, find_stale
from workbench.store.quality.presence import answered, attendance, find_missing
from workbench.store.quality.prints import find_jumps, find_prints
from workbench.store.quality.rules import find_broken, find_held_back, find_off_hours, sound_bars
from workbench.store.quality.subject import Subject
from workbench.store.review import moment_of
from workbench.store.seriesinfo import SeriesInfo
from workbench.store.source import BUILT_IN

__all__ = ["CHECKS", "NOT_COVERED", "Finding", "QualityReport", "check_store", "known_until", "map_coverage"]

CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    find_gaps,
    find_stale,
    find_missing,
    find_broken,
    find_off_hours,
    find_held_back,
    find_prints,
    find_jumps,
)

NOT_COVERED = -1.0
"""What a coverage map says of a session that is not covered."""

_EXPLAINS = frozenset({"gap", "missing", "pause", "broken", "duplicate", "held back", "print", "off grid", "off hours"})


def known_until(store: HistoricalDataManager, as_of: str | date | datetime | None = None) -> datetime:
    """Return the moment from which on nothing is expected of a store: `as_of`, else now.

    The built-in gateway may play at a time of its own: of its bars, it is the end of what is covered latest.
    """
    if as_of is not None:
        return parse_bound(as_of, TIMEFRAMES["1min"])
    if not (store.source or "").startswith(BUILT_IN):
        return datetime.now(UTC)
    return max((span.end for info in store.series() for span in info.coverage), default=datetime.now(UTC))


def check_store(
    store: HistoricalDataManager,
    symbols: Sequence[str] = (),
    timeframes: Sequence[str] = (),
    *,
    as_of: datetime,
    since: str | date | datetime | None = None,
    on_series: Callable[[int, int], object] = max,  # whatever takes both
) -> QualityReport:
    """Examine the stored series, all or those of some symbols and timeframes, and say what is wrong with them.

    Nothing from `as_of` on is expected, nothing that ends before `since` is told: what is usual is read from all of a
    series. `on_series` is told how many series are done, of how many. Raises `InvalidInput` when an argument cannot be
    used.
    """
    if since is not None:
        parse_bound(since, TIMEFRAMES["1min"])  # refused on a sound store too
    wanted = {check_symbol(symbol) for symbol in symbols}
    names = {parse_timeframe(name).name for name in timeframes}
    chosen = [
        info
        for info in store.series()
        if (not wanted or info.symbol in wanted) and (not names or info.timeframe in names)
    ]
    lacking = wanted - {info.symbol for info in chosen}
    if lacking:
        raise InvalidInput(f"nothing is stored of {', '.join(sorted(lacking))}; backfill first")
    findings: list[Finding] = []
    done = 0
    for _, group in groupby(chosen, key=lambda info: info.symbol):
        subjects = []
        for info in group:
            subject, found = _examine(store, info, as_of)
            findings += found
            subjects += [subject] if subject else []
            done += 1
            on_series(done, len(chosen))
        findings += _compare(subjects, findings)
    return QualityReport(tuple(one for one in findings if since is None or _reaches(one, since)), len(chosen))


def map_coverage(
    store: HistoricalDataManager,
    timeframe: str,
    symbols: Sequence[str] = (),
    *,
    as_of: datetime,
    sessions: int = 90,
    what_to_show: str = "TRADES",
) -> pd.DataFrame:
    """Return what is stored of the last complete sessions: a row a symbol, a column a session's date.

    A value is the share of the session's bars of regular hours that are there; `NOT_COVERED` where nobody has answered
    for the whole session; NaN before the series begins. Quiet symbols have a share below one, and no gap.
    """
    length, calendar = parse_timeframe(timeframe), session_calendar(use_rth=True)
    recent = calendar.recent(as_of, sessions)
    chosen = [one for one in store.series() if (one.timeframe, one.what_to_show) == (length.name, what_to_show)]
    chosen = [one for one in chosen if not symbols or one.symbol in symbols]
    labels, begins, _ = calendar.edges(recent)
    rows = {}
    for info in chosen:
        subject = _load(store, info, as_of, moment_of(labels[0]))
        share = np.where(answered(subject, recent), attendance(subject, recent), NOT_COVERED)
        begin = min([span.begin for span in info.coverage] + ([info.first] if info.first else []), default=as_of)
        rows[info.symbol] = np.where((labels if length.is_daily else begins) >= to_micros(begin), share, np.nan)
    dates = pd.DatetimeIndex(labels.view("datetime64[us]")).date
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(dates))


def _reaches(finding: Finding, since: str | date | datetime) -> bool:
    return finding.end > parse_bound(since, parse_timeframe(finding.timeframe))


def _examine(store: HistoricalDataManager, info: SeriesInfo, as_of: datetime) -> tuple[Subject | None, list[Finding]]:
    """Return a series as a subject, and what is wrong with it on its own."""
    try:
        subject = _load(store, info, as_of)
    except StoreError as error:  # of this series; the others are examined none the less
        return None, [_unreadable(info, as_of, str(error))]
    found = [_unreadable(info, as_of, info.problem)] if info.problem else []
    for check in CHECKS:
        found += check(subject)
    return subject, found


def _load(store: HistoricalDataManager, info: SeriesInfo, as_of: datetime, begin: datetime | None = None) -> Subject:
    timeframe = parse_timeframe(info.timeframe)
    stored = store.load_bars(info.symbol, info.timeframe, start=begin, columns=REQUIRED, what_to_show=info.what_to_show)
    judged = store.review.of(info.symbol, info.timeframe, info.what_to_show)
    return Subject(
        symbol=info.symbol,
        timeframe=timeframe,
        what_to_show=info.what_to_show,
        use_rth=info.use_rth,
        coverage=info.coverage,
        stored=stored,
        bars=sound_bars(stored, timeframe),
        judged=judged,
        is_index=store.universe.contract(info.symbol).kind == "index",
        as_of=as_of,
    )


def _unreadable(info: SeriesInfo, as_of: datetime, problem: str) -> Finding:
    begin = info.first or datetime(1990, 1, 1, tzinfo=as_of.tzinfo)
    step = "the message says how to repair it; where the file itself is damaged: --fix"
    return Finding(info.symbol, info.timeframe, info.what_to_show, "unreadable", begin, as_of, problem, step)


def _compare(subjects: Sequence[Subject], found: Sequence[Finding]) -> Iterator[Finding]:
    """Compare the timeframes of one symbol; what another finding explains is not told twice."""
    for shorter, longer in pairs(subjects):
        known = [one for one in found if one.kind in _EXPLAINS and _concerns(one, shorter, longer)]
        for finding in find_disagreements(shorter, longer):
            if not any(one.begin < finding.end and finding.begin < one.end for one in known):
                yield finding


def _concerns(finding: Finding, *subjects: Subject) -> bool:
    key = (finding.symbol, finding.timeframe, finding.what_to_show)
    return any(key == (one.symbol, str(one.timeframe), one.what_to_show) for one in subjects)
