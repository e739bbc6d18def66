"""Bars that are missing although their time is covered: an answer said that nobody traded, and that is unlikely.

Quiet minutes are no defect, so what is likely is read from the series itself: a symbol that traded in every minute of
its other sessions does not pause for two of them, and one that trades every third minute does not pause for hours.

A piece of several bars and at least five minutes is told as a *pause*: a halt looks so. Scattered bars,
shorter pieces and whole sessions are told as missing. In a market-wide halt nothing is expected, and what was accepted
as quiet is told no more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from workbench.market.halts import MARKET_WIDE
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import Timeframe
from workbench.store.parts import to_micros
from workbench.store.quality.findings import Finding
from workbench.store.quality.subject import Subject, covered, runs
from workbench.store.review import moment_of

_OTHERS = 4
"""Fewer other sessions than this say nothing about what is usual."""
_DENSE = 0.0005
"""A series is dense when its other sessions lack no more than this share of their bars."""
_UNLIKELY = 0.05
"""How often a check may be wrong about a dense series as a whole."""
_PRIOR = 0.05
"""Missing bars that are assumed where none was ever missing."""
_SHORTEST_HALT_S = 300
"""What limit-up and limit-down stop a stock for, at least."""
_SHOWN = 4
"""How many times of a finding are told."""
_LONG = 0.05
"""A pause is long from this share of a session on, and when it is three times as long as is usual."""


@dataclass(frozen=True, slots=True)
class Attendance:
    """Which bars of each session are there: `present[session, place]`, for `sizes[session]` places.

    `offsets` are the places, in microseconds from the session's begin. Only sessions that are complete and covered are
    in it, by their number in the calendar of regular hours: before and after them quiet is usual.
    """

    numbers: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray
    present: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """Which places the sessions have."""
        return np.asarray(np.arange(len(self.offsets)) < self.sizes[:, None])

    @property
    def missing(self) -> np.ndarray:
        """Which bars are not there."""
        return np.asarray(self.expected & ~self.present)


def find_missing(subject: Subject) -> Iterator[Finding]:
    """Find covered sessions that lack bars which the others have."""
    if subject.bars.empty:
        return
    if subject.timeframe.is_daily:
        yield from _missing_days(subject)
        return
    book = attend(subject)
    if len(book.numbers) <= _OTHERS:
        return
    dense = _improbable(book)
    for row in np.flatnonzero(dense | _long_pauses(book)):
        first, after = (0, 0) if dense[row] else _longest(book.missing[row])
        places = np.flatnonzero(book.missing[row]) if dense[row] else np.arange(first, after)
        yield _tell(subject, book, int(row), places)


def attend(subject: Subject) -> Attendance:
    """Return which bars of regular hours the covered, complete sessions of a series have."""
    calendar = session_calendar(use_rth=True)
    located = calendar.locate(subject.stamps, subject.timeframe)
    numbers = _reached(subject, located[located >= 0])
    book = _book(subject, numbers)
    _, _, ends = calendar.edges(numbers)
    judged = answered(subject, numbers) & (ends <= to_micros(subject.as_of))
    return Attendance(numbers[judged], book.sizes[judged], book.offsets, book.present[judged])


def _reached(subject: Subject, located: np.ndarray) -> np.ndarray:
    """Return the sessions from that of the first bar to the last that has a bar or is covered."""
    if not len(located):
        return located
    until = min(max((span.end for span in subject.coverage), default=subject.as_of), subject.as_of)
    (last,) = session_calendar(use_rth=True).recent(until, 1)
    return np.arange(located[0], max(located[-1], last) + 1)


def attendance(subject: Subject, numbers: np.ndarray) -> np.ndarray:
    """Return the share of its bars that a series has in each session of the calendar of regular hours."""
    book = _book(subject, numbers)
    return np.asarray((book.present & book.expected).sum(axis=1) / book.sizes)


def answered(subject: Subject, numbers: np.ndarray) -> np.ndarray:
    """Return which sessions are covered as a whole; a day is when its label is."""
    labels, begins, ends = session_calendar(use_rth=True).edges(numbers)
    return (
        covered(labels, labels + 1, subject.coverage)
        if subject.timeframe.is_daily
        else covered(begins, ends, subject.coverage)
    )


def _book(subject: Subject, numbers: np.ndarray) -> Attendance:
    """Return which bars some consecutive sessions have."""
    calendar = session_calendar(use_rth=True)
    labels, begins, ends = calendar.edges(numbers)
    offsets = places(subject.timeframe)
    sizes = np.searchsorted(offsets, ends - begins)
    present = np.zeros((len(numbers), len(offsets)), dtype=bool)
    if len(numbers):
        at = calendar.locate(subject.settled, subject.timeframe) - numbers[0]
        inside = (at >= 0) & (at < len(numbers))
        at = at[inside]
        since = subject.settled[inside] - (labels if subject.timeframe.is_daily else begins)[at]
        place = np.minimum(np.searchsorted(offsets, since), len(offsets) - 1)
        on_grid = offsets[place] == since
        present[at[on_grid], place[on_grid]] = True
        present |= _halted(begins, offsets, subject.timeframe)
    return Attendance(numbers, sizes, offsets, present)


def _halted(begins: np.ndarray, offsets: np.ndarray, timeframe: Timeframe) -> np.ndarray:
    """Return which bars lie wholly in a market-wide halt: nothing is expected there, so they count as there."""
    starts = begins[:, None] + offsets
    found = np.zeros(starts.shape, dtype=bool)
    for halt in MARKET_WIDE if not timeframe.is_daily else ():
        begin, end = to_micros(halt.begin), to_micros(halt.end)
        found |= (starts >= begin) & (starts + timeframe.seconds * 1_000_000 <= end)
    return found


def places(timeframe: Timeframe) -> np.ndarray:
    """Return where the bars of a full regular session start, in microseconds from its begin.

    Bars of an hour sit on the clock, half an hour after the open. Where four-hour bars are cut is not verified, so only
    the first counts.
    """
    step, half = timeframe.seconds, 1800
    seconds = np.arange(0, 23_400, step)
    if timeframe.name == "1hour":
        seconds = np.concatenate([[0], np.arange(half, 23_400, step)])
    if timeframe.name == "4hour":
        seconds = seconds[:1]
    return np.asarray(seconds * 1_000_000)


def _improbable(book: Attendance) -> np.ndarray:
    """Return which sessions of a dense series lack more bars than the others let expect.

    The number of missing bars is taken as Poisson distributed, with the rate of the other sessions.
    """
    missing, expected = book.missing.sum(axis=1), book.sizes
    others_missing, others = missing.sum() - missing, expected.sum() - expected
    rate = (others_missing + _PRIOR) / others * expected
    limit = _UNLIKELY / len(missing)
    rare = np.array([_at_least(int(count), mean) < limit for count, mean in zip(missing, rate, strict=True)])
    return np.asarray(rare & (missing > 0) & (others_missing <= _DENSE * others))


def _at_least(count: int, mean: float) -> float:
    """Return the probability that a Poisson variable is at least `count`."""
    if count == 0:
        return 1.0
    if count > mean + 20 * math.sqrt(mean) + 20:
        return 0.0
    term = total = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    for k in range(count + 1, count + 200):
        term *= mean / k
        total += term
    return total


def _long_pauses(book: Attendance) -> np.ndarray:
    """Return which sessions pause, in one piece, for much longer than the others do."""
    spans = (_longest(row) for row in book.missing)
    longest = np.array([after - first for first, after in spans])
    ordered = np.sort(longest)
    usual = ordered[min(math.ceil(0.9 * (len(ordered) - 1)), len(ordered) - 2)]
    return np.asarray((longest >= 3 * max(usual, 1)) & (longest >= _LONG * book.sizes))


def _longest(missing: np.ndarray) -> tuple[int, int]:
    return max(runs(missing), key=lambda run: run[1] - run[0], default=(0, 0))


def _tell(subject: Subject, book: Attendance, row: int, gone: np.ndarray) -> Finding:
    _, begins, _ = session_calendar(use_rth=True).edges(book.numbers[row : row + 1])
    starts = [moment_of(begins[0] + book.offsets[place]) for place in gone]
    shown = ", ".join(subject.tell(start)[-5:] for start in starts[:_SHOWN])
    more = f" and {len(starts) - _SHOWN} more" if len(starts) > _SHOWN else ""
    if _is_pause(subject, int(book.sizes[row]), gone):
        what = (
            f"{subject.tell(starts[0])} to {subject.tell(subject.end(starts[-1]))[-5:]}: no bars, though the time is "
            "covered; other sessions have them, so it was a halt or they were lost"
        )
        return subject.finding("pause", starts[0], subject.end(starts[-1]), what, _step(subject, starts[:1]))
    what = (
        f"{subject.tell(starts[0])[:10]} lacks {len(starts)} of {book.sizes[row]} bars ({shown}{more}); "
        "other sessions have them"
    )
    firsts = [start for start, before in zip(starts, [-2, *gone[:-1] - gone[1:]], strict=True) if before != -1]
    return subject.finding("missing", starts[0], subject.end(starts[-1]), what, _step(subject, firsts))


def _step(subject: Subject, firsts: list[datetime]) -> str:
    """Return what to do about bars that are not there, in pieces that begin at these starts."""
    at = " ".join(f"--at {subject.stamp(start)}" for start in firsts[:_SHOWN])
    more = ", and so on" if len(firsts) > _SHOWN else ""
    return f"fetch it again: --fix; when it stays and is true: workbench review {subject.key} {at} --accept{more}"


def _is_pause(subject: Subject, size: int, gone: np.ndarray) -> bool:
    """Tell whether the bars that are not there may be a halt: one piece of at least five minutes, no session."""
    is_one_piece = len(gone) == gone[-1] - gone[0] + 1
    is_long = len(gone) > 1 and len(gone) * subject.timeframe.seconds >= _SHORTEST_HALT_S
    return bool(is_one_piece and is_long and len(gone) < size)


def _missing_days(subject: Subject) -> Iterator[Finding]:
    """Find covered sessions without a daily bar, from the first bar on; neighbouring ones are one finding."""
    calendar = subject.calendar
    located = calendar.locate(subject.settled, subject.timeframe)
    numbers = _reached(subject, located[located >= 0])
    labels, _, ends = calendar.edges(numbers)
    complete = ends <= to_micros(subject.as_of)
    for first, after in runs(complete & answered(subject, numbers) & ~np.isin(numbers, located)):
        begin, last = moment_of(labels[first]), moment_of(labels[after - 1])
        days = "1 session has" if after - first == 1 else f"{after - first} sessions have"
        what = f"{days} no bar, {subject.tell(begin)} to {subject.tell(last)}"
        yield subject.finding("missing", begin, subject.end(last), what, _step(subject, [begin]))
