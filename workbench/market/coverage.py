"""Intervals of time, and sets of them: what of a series was asked for and answered.

Intervals are half-open, `[begin, end)`, in UTC. The coverage of daily bars is in their labels: a session is
covered when its date at 00:00 UTC is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo

from workbench.errors import InvalidInterval


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """The span `[begin, end)`, with both ends in UTC.

    Raises `InvalidInterval` when the end does not lie after the begin, or when either has no time zone.
    """

    begin: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "begin", as_utc(self.begin))
        object.__setattr__(self, "end", as_utc(self.end))
        if self.end <= self.begin:
            raise InvalidInterval(f"the end {self.end} does not lie after the begin {self.begin}")

    def __str__(self) -> str:
        return f"[{self.begin:%Y-%m-%d %H:%M:%S}, {self.end:%Y-%m-%d %H:%M:%S}) UTC"

    def clip(self, begin: datetime, end: datetime) -> Interval | None:
        """Return the part inside `[begin, end)`, or None when there is none."""
        left, right = max(self.begin, begin), min(self.end, end)
        return Interval(left, right) if left < right else None


class Coverage:
    """A set of instants as sorted, disjoint intervals.

    >>> day = lambda n: datetime(2026, 11, n, tzinfo=UTC)
    >>> held = Coverage([Interval(day(2), day(4)), Interval(day(4), day(6))])
    >>> len(held), [str(gap) for gap in held.missing(Interval(day(1), day(6)))]
    (1, ['[2026-11-01 00:00:00, 2026-11-02 00:00:00) UTC'])
    """

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._intervals = tuple(_merged(intervals))

    def __iter__(self) -> Iterator[Interval]:
        return iter(self._intervals)

    def __len__(self) -> int:
        return len(self._intervals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coverage) and self._intervals == other._intervals

    def __hash__(self) -> int:
        return hash(self._intervals)

    def __repr__(self) -> str:
        return f"Coverage({', '.join(map(str, self))})"

    def __or__(self, other: Coverage) -> Coverage:
        return Coverage((*self, *other))

    def clip(self, begin: datetime, end: datetime) -> Coverage:
        """Return what lies inside `[begin, end)`."""
        clipped = (interval.clip(begin, end) for interval in self)
        return Coverage(interval for interval in clipped if interval)

    def missing(self, wanted: Interval) -> Coverage:
        """Return what of `wanted` is not in the set."""
        gaps, reached = [], wanted.begin
        for interval in self.clip(wanted.begin, wanted.end):
            if reached < interval.begin:
                gaps.append(Interval(reached, interval.begin))
            reached = interval.end
        if reached < wanted.end:
            gaps.append(Interval(reached, wanted.end))
        return Coverage(gaps)


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for interval in sorted(intervals):
        if merged and interval.begin <= merged[-1].end:
            merged[-1] = Interval(merged[-1].begin, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return merged


def as_utc(moment: datetime) -> datetime:
    """Return the same instant in UTC, a pandas Timestamp as a plain datetime; refuse one without a time zone."""
    if moment.tzinfo is None:
        raise InvalidInterval(f"{moment} has no time zone; give it one, for example UTC")
    try:
        utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInterval(f"{moment} lies outside the years 1 to 9999 in UTC") from error
    return datetime.combine(utc.date(), utc.time(), tzinfo=UTC)


def parse_moment(value: str | date | datetime, zone: tzinfo = UTC) -> datetime:
    """Return the instant in UTC that a user means.

    A date, or text like `2026-11-20`, is that date at 00:00 in `zone`; a moment with hours must carry its own
    (`2026-11-20T14:30Z`).

    >>> parse_moment("2026-11-20").isoformat()
    '2026-11-20T00:00:00+00:00'
    """
    if isinstance(value, datetime):
        return as_utc(value)
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=zone).astimezone(UTC)
    if not isinstance(value, str):
        raise InvalidInterval(f"{value!r} is no date; write 2026-11-20 or 2026-11-20T14:30Z")
    text = value.strip()
    try:
        if len(text) <= len("2026-11-20"):
            return parse_moment(date.fromisoformat(text), zone)
        return as_utc(datetime.fromisoformat(text))
    except InvalidInterval:
        raise
    except ValueError as error:
        raise InvalidInterval(f"{value!r} is no date; write 2026-11-20 or 2026-11-20T14:30Z") from error
