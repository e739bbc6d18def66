"""Prices that look wrong: prints far outside of the bars beside them, and levels that jump and stay."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from workbench.market.doubts import bars_a_session, prices_of
from workbench.store.quality.findings import Finding
from workbench.store.quality.subject import Subject, runs
from workbench.store.review import same_bars

SUSPICIOUS_FROM = 13.0
"""Usual ranges that a bar sticks out of both its neighbours. The true bars of the wildest days reach 12."""

JUMP_FROM = 20.0
"""Usual ranges of a session between a close and the next open. True news has moved prices by up to 15."""


def find_prints(subject: Subject) -> Iterator[Finding]:
    """Find bars whose high or low is far outside of both their neighbours: it came and went within the bar."""
    found = subject.protrusion
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
    """Find prices that jump, between two bars or within one, and stay: a split, or bars of two bases in one series."""
    opens, _, _, closes = prices_of(subject.table)
    before = np.concatenate([opens[:1], closes[:-1]])
    moved = np.maximum(np.abs(np.log(opens / before)), np.abs(np.log(closes / opens)))
    unit = subject.usual_range * math.sqrt(bars_a_session(subject.timeframe))
    jumps = (moved / unit >= JUMP_FROM) & _follow(subject) & ~same_bars(subject.bars, subject.judged, "accepted")
    strange = subject.protrusion >= SUSPICIOUS_FROM
    jumps &= ~strange & ~np.concatenate([[False], strange[:-1]])
    for row in np.flatnonzero(jumps).tolist():
        begin, ratio = subject.start(row), before[row] / closes[row]
        what = f"{subject.tell(begin)} goes from {before[row]:g} to {closes[row]:g}, {ratio:.3f} to 1, and stays there"
        step = f"a split? If it is none and true: workbench review {subject.key} --at {subject.stamp(begin)} --accept"
        yield subject.finding("jump", begin, subject.end(begin), what, step)


def _follow(subject: Subject) -> np.ndarray:
    """Return which bars are of the same session as the bar before them, or of the next."""
    session = subject.calendar.locate(subject.stamps, subject.timeframe)
    return np.asarray(np.diff(session, prepend=session[:1]) <= 1)
