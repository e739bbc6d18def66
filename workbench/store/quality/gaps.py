"""Time that the calendar expects bars in and nobody has answered for: gaps, and series that have not gone on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import Session
from workbench.store.quality.findings import Finding
from workbench.store.quality.subject import Subject

BEHIND = 2
"""How many complete sessions may pass before a series is stale: the last may wait for its evening's backfill."""


def find_gaps(subject: Subject) -> Iterator[Finding]:
    """Find what is not covered between the begin of the series and its end. Quiet time is covered, and no gap."""
    known = _known(subject)
    if known is None:
        return
    waiting = Coverage(filter(None, map(subject.slot, subject.held_back)))  # found by another check
    for gap in (subject.coverage | waiting).missing(known):
        sessions = subject.calendar.during(gap.begin, gap.end, subject.timeframe)
        if sessions:
            begin = max(gap.begin, _begin(sessions[0], subject))
            end = min(gap.end, sessions[-1].end) if not subject.timeframe.is_daily else gap.end
            is_part = not subject.timeframe.is_daily and (begin > sessions[0].begin or end < sessions[-1].end)
            in_full = " in full" if is_part else ""
            what = f"{_count(sessions)} not covered{in_full}, {subject.tell(begin)} to {subject.tell(end)}"
            yield subject.finding("gap", begin, end, what, "fetch it: --fix, or a backfill since then")


def find_stale(subject: Subject) -> Iterator[Finding]:
    """Find out whether sessions are complete that the series does not reach."""
    known = _known(subject)
    if known is None:
        return
    until = subject.calendar.complete_until(subject.as_of, subject.timeframe)
    behind = [
        session
        for session in subject.calendar.during(known.end, until, subject.timeframe)
        if session.end <= subject.as_of
    ]
    if len(behind) >= BEHIND:
        begin = max(known.end, _begin(behind[0], subject))
        what = f"{_count(behind)} complete since it was covered last, {subject.tell(known.end)}"
        yield subject.finding("stale", begin, until, what, "fetch what is new: --fix, or a backfill")


def _known(subject: Subject) -> Interval | None:
    """Return the time from the first bar, or the first coverage, to the end of the coverage.

    Bars after that are the newest, which IB still revises: stored, and to be asked for again. Bars that nobody claimed
    to be all there are count as a gap.
    """
    covered = [moment for span in subject.coverage for moment in (span.begin, span.end)]
    stored = [] if subject.bars.empty else [subject.start(0), subject.end(subject.start(-1))]
    begin = min([*covered, *stored], default=subject.as_of)
    end = min(max(covered or stored, default=subject.as_of), subject.as_of)
    return Interval(begin, end) if begin < end else None


def _begin(session: Session, subject: Subject) -> datetime:
    return session.label_utc if subject.timeframe.is_daily else session.begin


def _count(sessions: list[Session]) -> str:
    return "1 session is" if len(sessions) == 1 else f"{len(sessions)} sessions are"
