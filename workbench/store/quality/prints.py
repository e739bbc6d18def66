"""Prices that look wrong: prints far outside of the bars beside them, and levels that jump and stay."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from workbench.market.doubts import bars_a_session, prices_of, protrusion, usual_range
from workbench.store.quality.findings import Finding
from workbench.store.quality.subject import Subject, runs
from workbench.store.review import same_bars

SUSPICIOUS_FROM = 13.0
"""Usual ranges that a bar sticks out of both its neighbours. The true bars of the wildest days reach 12."""

JUMP_FROM = 20.0
"""Usual ranges of a session between a close and the next open. True news has moved prices by up to 15."""


def find_prints(subject: Subject) -> Iterator[Finding]:
    """Find bars whose high or low is far outside of both their neighbours: it came and went within the bar."""
    found = protrusion(subject.table, subject.timeframe)
    strange = (found >= SUSPICIOUS_FROM) & ~same_bars(subject.bars, subject.judged, "accepted")
    for first, after in runs(strange):
        begin, last = subject.start(first), subject.start(after - 1)
        bar, most = subject.bars.iloc[first], found[first:after].max()
        prices = ", ".join(f"{name} {bar[name]:g}" for name in ("open", "high", "low", "close"))
        what = f"{subject.tell(begin)} ({prices}) sticks out of the bars beside it by {most:.0f} times the usual range"
        verdict = f"workbench review {subject.key} --at {subject.stamp(begin)} --accept"
        yield subject.finding(
            "print", begin, subject.end(last), what, f"fetch it again: --fix; if it is true: {verdict}"
        )


def find_jumps(subject: Subject) -> Iterator[Finding]:
    """Find prices that jump from a close to the next open and stay: a split, or bars of two bases in one series."""
    opens, _, _, closes = prices_of(subject.table)
    if len(opens) < 2:
        return
    moved = np.abs(np.log(opens[1:] / closes[:-1]))
    unit = usual_range(subject.table, subject.timeframe)[1:] * math.sqrt(bars_a_session(subject.timeframe))
    strange = protrusion(subject.table, subject.timeframe) >= SUSPICIOUS_FROM
    session = subject.calendar.locate(subject.stamps, subject.timeframe)
    adjacent = np.diff(session) <= 1
    jumps = (moved / unit >= JUMP_FROM) & adjacent & ~strange[1:] & ~strange[:-1]
    jumps &= ~same_bars(subject.bars, subject.judged, "accepted")[1:]
    for row in (np.flatnonzero(jumps) + 1).tolist():
        begin, ratio = subject.start(row), closes[row - 1] / opens[row]
        what = f"{subject.tell(begin)} opens at {opens[row]:g} after {closes[row - 1]:g}, {ratio:.3f} to 1, and stays"
        step = f"a split? If it is none and true: workbench review {subject.key} --at {subject.stamp(begin)} --accept"
        yield subject.finding("jump", begin, subject.end(begin), what, step)
