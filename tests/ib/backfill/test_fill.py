"""Filling one series, without a network: IB is a function here, which may be slow, deaf, or know no past."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import NoPermission, RequestTimeout
from workbench.gateway.durations import begin_of, parse_duration
from workbench.gateway.hours import hours
from workbench.ib.backfill.fill import MOST_TIMEOUTS, SeriesFill
from workbench.ib.plan import MOST_BARS, HistoryRequest
from workbench.market.bars import empty_bars
from workbench.market.coverage import Coverage, Interval, parse_moment
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES, Timeframe

CALENDAR = session_calendar()
SINCE, UNTIL = parse_moment("2026-02-02"), parse_moment("2026-11-19")
COARSE = [TIMEFRAMES[name] for name in ("1min", "5min", "15min", "1hour", "4hour", "1day")]


@dataclass
class World:
    """What IB has, since `head`; and the store: what was settled, and how often each span was."""

    timeframe: Timeframe
    head: datetime = SINCE
    final: datetime = UNTIL
    size: int = MOST_BARS
    stored: Coverage = field(default_factory=Coverage)
    settled_spans: list[Interval] = field(default_factory=list)
    unsettled: list[Interval] = field(default_factory=list)
    asked: list[HistoryRequest] = field(default_factory=list)
    denials: set[int] = field(default_factory=set)
    """Which answers say wrongly that there is nothing; before the oldest bars that looks as if the listing began."""
    told: list[datetime] = field(default_factory=list)
    """The bars that were told."""

    def fill(self) -> SeriesFill:
        fill = SeriesFill("AAPL", self.timeframe, Interval(SINCE, UNTIL), self.final, CALENDAR, lambda _: self.size)
        fill.open(self.stored.missing(Interval(SINCE, UNTIL)))
        fill.first_bar = min(self.told, default=None)
        return fill

    def answer(self, request: HistoryRequest) -> pd.DataFrame:
        """Return the first bar of each session that a request reaches, as the built-in gateway would."""
        self.asked.append(request)
        if len(self.asked) - 1 in self.denials and request.covers.begin > SINCE:
            return empty_bars()
        end = int(request.end.timestamp())
        begin = datetime.fromtimestamp(begin_of(parse_duration(request.duration), end, hours(), use_rth=True), UTC)
        sessions = CALENDAR.during(max(begin, self.head), request.end, TIMEFRAMES["5min"])
        starts = [it.label_utc if self.timeframe.is_daily else max(it.begin, begin, self.head) for it in sessions]
        self.told += starts
        return pd.DataFrame({"close": 1.0}, index=pd.DatetimeIndex(starts, tz="UTC"))

    def save(self, spans: list[tuple[Interval, bool]]) -> None:
        for span, is_settled in spans:
            (self.settled_spans if is_settled else self.unsettled).append(span)
            if is_settled:
                self.stored |= Coverage([span])

    def take_answer(self, fill: SeriesFill, request: HistoryRequest) -> None:
        self.save(fill.settle(request, self.answer(request)))
        if fill.wants_head:
            self.save([(span, True) for span in fill.bound(self.head)])
        self.finish(fill, request)

    def finish(self, fill: SeriesFill, request: HistoryRequest) -> None:
        fill.done(request)
        self.save([(span, True) for span in fill.believed()])

    def is_whole(self) -> bool:
        left = self.stored.missing(Interval(SINCE, min(UNTIL, self.final)))
        return not any(CALENDAR.during(gap.begin, gap.end, self.timeframe) for gap in left)


def run(world: World, dice: random.Random, *, deaf: float = 0.0, stop_after: int = 10**9) -> SeriesFill:
    """Fill until nothing is left, in any order of answers; some time out; it may be killed with some under way."""
    fill, under_way, answered = world.fill(), [], 0
    while fill.has_turn or under_way:
        while fill.has_turn and (request := fill.take()):
            under_way.append(request)
        if not under_way:
            break
        request = under_way.pop(dice.randrange(len(under_way)))
        if dice.random() < deaf:
            world.size = max(400, min(world.size, request.bars // 2))
            fill.timed_out(request, RequestTimeout("no answer"))
            fill.done(request)
            continue
        world.take_answer(fill, request)
        answered += 1
        if answered >= stop_after:
            return fill
    return fill


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(COARSE), st.randoms(use_true_random=False), st.integers(-40, 200))
def test_everything_is_settled_once_wherever_the_past_begins(
    timeframe: Timeframe, dice: random.Random, late: int
) -> None:
    world = World(timeframe, head=SINCE + timedelta(days=late))

    fill = run(world, dice)

    assert fill.error is None
    assert fill.left == 0
    assert world.is_whole()
    assert sum(((it.end - it.begin) for it in world.settled_spans), timedelta(0)) <= UNTIL - SINCE


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(COARSE), st.randoms(use_true_random=False), st.lists(st.integers(1, 12), max_size=4))
def test_stopped_anywhere_and_resumed_it_asks_for_nothing_twice_that_was_settled(
    timeframe: Timeframe, dice: random.Random, stops: list[int]
) -> None:
    world = World(timeframe)

    for stop in stops:
        run(world, dice, stop_after=stop)
    run(world, dice)

    assert world.is_whole()
    assert sum(((it.end - it.begin) for it in world.settled_spans), timedelta(0)) <= UNTIL - SINCE


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(COARSE), st.randoms(use_true_random=False))
def test_what_times_out_is_asked_for_again_in_shorter_requests(timeframe: Timeframe, dice: random.Random) -> None:
    world = World(timeframe)

    fill = run(world, dice, deaf=0.15)

    assert world.is_whole() or isinstance(fill.error, RequestTimeout)
    assert fill.left == 0


def test_the_newest_are_stored_but_not_settled_and_asked_for_once() -> None:
    final = parse_moment("2026-11-18T20:30Z")
    world = World(TIMEFRAMES["15min"], final=final)

    run(world, random.Random(1))

    assert world.unsettled == [Interval(final, UNTIL)]
    assert len(world.asked) == 2  # ten months of 26 bars a session
    assert world.stored == Coverage([Interval(SINCE, final)])


def test_an_answer_that_is_delayed_settles_nothing_from_its_last_bar_on() -> None:
    world = World(TIMEFRAMES["1day"])
    fill = world.fill()
    request = fill.take()
    bars = world.answer(request)
    bars.attrs["delayed"] = True

    ((settled, _), (open_, is_settled)) = fill.settle(request, bars)

    assert settled.end == open_.begin == bars.index[-1]
    assert not is_settled


def test_the_head_bounds_the_past_instead_of_many_empty_answers() -> None:
    world = World(TIMEFRAMES["1min"], head=parse_moment("2026-11-02T14:30Z"))

    fill = run(world, random.Random(1))

    assert world.is_whole()
    assert len(world.asked) <= 4  # of 17 that there would be
    assert fill.empty <= 3


def test_without_a_head_the_past_is_asked_for_one_by_one() -> None:
    world = World(TIMEFRAMES["1min"], head=parse_moment("2026-11-02T14:30Z"))
    fill = world.fill()

    while fill.has_turn and (request := fill.take()):
        assert not (fill.empty and fill.has_turn)
        world.save(fill.settle(request, world.answer(request)))
        if fill.wants_head:
            assert fill.bound(None) == []
        world.finish(fill, request)

    assert world.is_whole()
    assert fill.empty > 10


def test_more_are_under_way_with_every_whole_answer() -> None:
    world, counts = World(TIMEFRAMES["1min"]), []
    fill = world.fill()
    for _ in range(2):
        taken = []
        while fill.has_turn and (request := fill.take()):
            taken.append(request)
        counts.append(len(taken))
        for request in taken:
            world.take_answer(fill, request)

    assert counts == [4, 13]


def test_a_series_that_always_times_out_is_given_up() -> None:
    world = World(TIMEFRAMES["1min"])

    fill = run(world, random.Random(1), deaf=1.0)

    assert isinstance(fill.error, RequestTimeout)
    assert fill.report().outcome == "failed"
    assert fill.report().next_step == "run it again later: it goes on from here, with shorter requests"
    assert MOST_TIMEOUTS == 5


def test_a_series_that_failed_asks_for_nothing_more_and_keeps_its_first_reason() -> None:
    fill = World(TIMEFRAMES["1min"]).fill()
    request = fill.take()
    fill.fail(NoPermission("first"))
    fill.fail(RequestTimeout("second"))
    fill.put_back(request)
    fill.done(request)

    assert not fill.has_turn
    assert str(fill.error) == "first"
    assert fill.left == 0


def test_what_was_put_back_counts_as_unfinished() -> None:
    fill = World(TIMEFRAMES["1day"]).fill()
    request = fill.take()
    assert not fill.has_turn
    fill.put_back(request)
    fill.done(request)

    assert fill.report().outcome == "interrupted"
    assert fill.report().next_step == "run it again: it goes on from here"


@pytest.mark.parametrize("timeframe", COARSE, ids=str)
def test_what_is_left_is_counted(timeframe: Timeframe) -> None:
    world = World(timeframe)
    fill = world.fill()
    planned = fill.left

    while fill.has_turn and (request := fill.take()):
        world.take_answer(fill, request)
        assert fill.left + fill.answered == planned
    assert fill.answered == planned


@pytest.mark.parametrize("second", ["nothing again", "bars"])
def test_that_ib_has_nothing_after_older_bars_is_believed_when_it_says_so_twice(second: str) -> None:
    world = World(TIMEFRAMES["1day"])
    fill = world.fill()
    fill.first_bar = SINCE - timedelta(days=30)
    request = fill.take()

    world.save(fill.settle(request, empty_bars()))
    assert fill.report().is_unfinished
    world.finish(fill, request)
    assert world.settled_spans == []
    again = fill.take()
    world.save(fill.settle(again, empty_bars() if second == "nothing again" else world.answer(again)))
    world.finish(fill, again)

    assert (again.end, again.covers) == (request.end, request.covers)
    assert world.settled_spans == [request.covers]
    assert not fill.has_turn
    assert not fill.report().is_unfinished
    assert fill.report().without == ((request.covers,) if second == "nothing again" else ())


def test_that_ib_has_nothing_before_its_first_bar_is_believed_at_once() -> None:
    world = World(TIMEFRAMES["1day"])
    fill = world.fill()
    request = fill.take()

    world.save(fill.settle(request, empty_bars()))
    world.finish(fill, request)

    assert world.settled_spans == [request.covers]
    assert not fill.has_turn
    assert fill.report().without == ()


@settings(deadline=None, max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(1, 25), st.integers(0, 16))
def test_what_ib_denied_once_is_there_in_the_end_whenever_the_backfill_was_killed(
    dice: random.Random, stop: int, denied: int
) -> None:
    """While it is not known whether older bars come, a denial covers nothing."""
    world = World(TIMEFRAMES["1min"], denials={denied})
    run(world, dice, stop_after=stop)
    run(world, dice)

    assert world.is_whole()
    assert not [span for span in world.settled_spans if CALENDAR.during(span.begin, span.end, world.timeframe)
                and not any(span.begin <= bar < span.end for bar in world.told)]  # fmt: skip


def test_a_hole_between_bars_is_asked_for_once_more_when_all_else_is_done() -> None:
    """That older bars exist is not known before they come."""
    world = World(TIMEFRAMES["1min"])
    fill, hole = world.fill(), []
    while fill.has_turn:
        request = fill.take()
        hole = hole or [request.covers]
        is_in_hole = request.covers == hole[0]
        bars = empty_bars() if is_in_hole else world.answer(request)
        world.asked += [request] * is_in_hole
        world.save(fill.settle(request, bars))
        world.finish(fill, request)

    assert [one.covers for one in world.asked].count(hole[0]) == 2
    assert world.asked[-1].covers == hole[0]
    assert fill.report().without == tuple(hole)
    assert world.is_whole()
