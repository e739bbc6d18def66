"""Bars that break a rule: of the data model, of the hours, or that the door has held back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from workbench.market.bars import TIMESTAMP, broken_rules
from workbench.market.doubts import outside_hours
from workbench.market.timeframes import Timeframe
from workbench.store.quality.findings import Finding
from workbench.store.quality.subject import Subject, runs
from workbench.store.review import same_bars


def find_broken(subject: Subject) -> Iterator[Finding]:
    """Find bars that no door of ours would have let in: another program wrote them, or an older version of this one."""
    for rule in broken_rules(subject.stored, subject.timeframe):
        for first, after in runs(rule.broken):
            begin, last = (subject.stored.index[row].to_pydatetime() for row in (first, after - 1))
            begin, last = min(begin, last), max(begin, last)
            what = f"{_count(after - first)} from {subject.tell(begin)} on: {rule.claim}"
            yield subject.finding(rule.kind, begin, subject.end(last), what, "fetch it again: --fix")


def find_off_hours(subject: Subject) -> Iterator[Finding]:
    """Find bars outside of the session's hours."""
    if subject.is_index and not subject.timeframe.is_daily:
        return
    outside = outside_hours(subject.stamps, subject.timeframe, subject.calendar)
    outside &= ~same_bars(subject.bars, subject.judged, "accepted")
    hours = "regular hours" if subject.use_rth else "all hours"
    for first, after in runs(outside):
        begin, last = subject.start(first), subject.start(after - 1)
        what = f"{_count(after - first)} from {subject.tell(begin)} on: outside of {hours}"
        step = f"decide: workbench review {subject.key} --at {subject.stamp(begin)} --accept, or --drop"
        yield subject.finding("off hours", begin, subject.end(last), what, step)


def find_held_back(subject: Subject) -> Iterator[Finding]:
    """List the bars that wait for a decision; neighbours with the same reason are one."""
    waiting = subject.judged[subject.judged["judgement"] == "held back"].sort_values(TIMESTAMP)
    if waiting.empty:
        return
    gap = waiting[TIMESTAMP].diff() > max(2 * subject.timeframe.length, pd.Timedelta(hours=1))
    groups = (gap | (waiting["reason"] != waiting["reason"].shift())).cumsum()
    for _, group in waiting.groupby(groups):
        begin, last = (group[TIMESTAMP].iloc[at].to_pydatetime() for at in (0, -1))
        prices = ", ".join(f"{name} {group[name].iloc[0]:g}" for name in ("open", "high", "low", "close"))
        what = f"{_count(len(group))} from {subject.tell(begin)} on ({prices}): {group['reason'].iloc[0]}"
        verdict = f"workbench review {subject.key} --at {subject.stamp(begin)} --accept, or --drop"
        step = f"fetch it again: --fix; when it stays: {verdict}"
        yield subject.finding("held back", begin, subject.end(last), what, step)


def sound_bars(stored: pd.DataFrame, timeframe: Timeframe) -> pd.DataFrame:
    """Return the bars without the rows that break a rule."""
    broken = np.zeros(len(stored), dtype=bool)
    for rule in broken_rules(stored, timeframe):
        broken |= rule.broken
    return stored[~broken]


def _count(bars: int) -> str:
    return "1 bar" if bars == 1 else f"{bars} bars"
