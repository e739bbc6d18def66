"""What is streamed, what is kept up to date and what history tells later are the same, whatever the clock does.

Clients with different wishes and hours follow one market over its edges: the open, the close, a half day's, the first
sessions of winter and summer time; the clock runs, stands and jumps ahead; subscriptions come, go and come again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.test_replay import save
from workbench.gateway.effects import Send
from workbench.gateway.protocol import GatewayConnection
from workbench.gateway.replay import ReplayTape
from workbench.gateway.shared import Gateway
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import Tape
from workbench.gateway.wire import GREETING, FrameReader, Value, encode, fields, frame

NEW_YORK = ZoneInfo("America/New_York")
EDGES = [
    "2026-11-20 04:00",
    "2026-11-20 09:30",
    "2026-11-20 12:00",
    "2026-11-20 16:00",
    "2026-11-20 20:00",
    "2026-11-27 13:00",  # a half day
    "2026-11-27 17:00",
    "2026-11-02 09:30",  # the first session of winter time
    "2026-03-09 09:30",  # and of summer time
    "2026-11-22 12:00",  # a Sunday
]
SIZES = {"5 secs": 5, "30 secs": 30, "1 min": 60, "10 mins": 600, "1 hour": 3600, "4 hours": 14_400}
DURATIONS = {"4 hours": "1 W"}
Row = tuple[str, ...]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


@cache
def market() -> SimulatedTape:
    return SimulatedTape(seed=1)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> ReplayTape:
    """Return a replay of a few sessions with quiet windows and quiet minutes, and minutes that differ from them."""
    folder = tmp_path_factory.mktemp("tape")
    some = np.random.default_rng(7)
    starts: list[int] = []
    for edge in ("2026-03-09", "2026-11-02", "2026-11-20", "2026-11-27"):
        end = at(f"{edge} 17:00") if edge == "2026-11-27" else at(f"{edge} 20:00")
        day = np.arange(at(f"{edge} 04:00"), end, 5)
        starts += day[some.random(len(day)) < 0.2].tolist()
    prices = np.round(50 + np.cumsum(some.integers(-2, 3, len(starts))) / 100, 2)
    columns = {
        "open": prices,
        "high": prices + 0.02,
        "low": prices - 0.01,
        "close": prices + 0.01,
        "volume": some.integers(1, 9, len(starts)) * 100.0,
        "bar_count": some.integers(1, 5, len(starts)),
    }
    save(folder / "SPY" / "5sec.parquet", starts, **columns)
    save(folder / "SPY" / "1min.parquet", sorted({start // 60 * 60 for start in starts}))
    return ReplayTape(folder)


class Client:
    """A client of a gateway whose clock stands where the test puts it."""

    def __init__(self, gateway: Gateway, number: int, now: int) -> None:
        self.connection = GatewayConnection(gateway)
        self.ask(now, GREETING + frame(b"v157..176") + encode(71, 2, number, None))
        self.rows: list[list[str]] = []

    def ask(self, now: float, data: bytes) -> list[list[str]]:
        reader = FrameReader()
        for effect in self.connection.receive(data, now):
            assert isinstance(effect, Send)
            reader.feed(effect.data)
        return [fields(payload) for payload in reader.frames()]

    def take(self, data: bytes) -> None:
        reader = FrameReader()
        reader.feed(data)
        self.rows += [fields(payload) for payload in reader.frames()]

    def history(self, now: float, size: str, what: str, *, use_rth: bool) -> dict[int, Row]:
        answers = self.ask(now, history(9999, size, what, use_rth=use_rth, keep=False))
        cells = answers[0][5:] if answers[0][0] == "17" else []
        return {int(cells[i]): tuple(cells[i + 1 : i + 8]) for i in range(0, len(cells), 8)}


def contract() -> Sequence[Value]:
    return ("0", "SPY", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")


def history(req_id: int, size: str, what: str, *, use_rth: bool, keep: bool) -> bytes:
    duration = DURATIONS.get(size, "2 D")
    return encode(20, req_id, *contract(), 0, "", size, duration, use_rth, what, 2, keep, None)


def streamed(rows: Sequence[Sequence[str]], req_id: int) -> list[tuple[int, Row]]:
    return [(int(it[3]), tuple(it[4:])) for it in rows if it[0] == "50" and it[2] == str(req_id)]


def last_words(rows: Sequence[Sequence[str]], req_id: int) -> dict[int, Row]:
    """Return the last update of each bar, in the order of history's fields."""
    told = [it for it in rows if it[0] == "90" and it[1] == str(req_id)]
    return {int(it[3]): (it[4], it[6], it[7], it[5], it[9], it[8], it[2]) for it in told}


def played(
    gateway: Gateway, clients: Sequence[Client], begin: int, moves: Sequence[tuple[str, int]]
) -> Iterator[tuple[int, int]]:
    """Let the clock move; yield the intervals that it jumped over."""
    now = begin
    for kind, seconds in moves:
        if kind == "jump":
            yield now, now + seconds
            now += seconds
            gateway.skip(now)
        else:
            now += seconds
        for connection, data in gateway.tick(now):
            next(it for it in clients if it.connection is connection).take(data)
    yield now, now


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from([1, 2, 3, 5, 7, 20, 61])),
        st.tuples(st.just("stand"), st.just(0)),
        st.tuples(st.just("jump"), st.sampled_from([1, 4, 60, 3601])),
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(
    is_replay=st.booleans(),
    edge=st.sampled_from(EDGES),
    offset=st.integers(-90, 30),
    moves=MOVES,
    wishes=st.lists(
        st.tuples(st.sampled_from(["TRADES", "MIDPOINT", "BID", "ASK"]), st.booleans(), st.sampled_from([*SIZES])),
        min_size=1,
        max_size=4,
    ),
)
def test_all_that_is_told_of_a_bar_agrees_with_later_history(
    recorded: ReplayTape,
    is_replay: bool,
    edge: str,
    offset: int,
    moves: list[tuple[str, int]],
    wishes: list[tuple[str, bool, str]],
) -> None:
    tape: Tape = recorded if is_replay else market()
    gateway, begin = Gateway(tape), at(edge) + offset
    clients = [Client(gateway, number, begin) for number in range(len(wishes))]
    for client, (what, use_rth, size) in zip(clients, wishes, strict=True):
        client.ask(begin, encode(50, 3, 1, *contract(), 5, what, use_rth, None))
        client.ask(begin, encode(50, 3, 2, *contract(), 5, what, use_rth, None))
        client.ask(begin, encode(51, 1, 1))
        client.ask(begin, encode(50, 3, 1, *contract(), 5, what, use_rth, None))
        client.ask(begin, history(3, size, what, use_rth=use_rth, keep=True))

    *gaps, (end, _) = list(played(gateway, clients, begin, moves))

    for client, (what, use_rth, size) in zip(clients, wishes, strict=True):
        fives = client.history(end, "5 secs", what, use_rth=use_rth)
        longer = client.history(end, size, what, use_rth=use_rth)
        told = last_words(client.rows, 3)

        due = [(start, row) for start, row in fives.items() if begin <= start and was_seen(start, 5, end, gaps)]
        assert streamed(client.rows, 1) == streamed(client.rows, 2) == due
        seen = {start: row for start, row in longer.items() if was_seen(start, SIZES[size], end, gaps)}
        assert {
            start: row for start, row in told.items() if was_seen(start, SIZES[size], end, gaps)
        }.items() <= seen.items()
        if gateway.kept.holds(client.connection, 3):
            assert told.keys() >= {start for start in seen if start >= begin}


def was_seen(start: int, length: int, end: int, gaps: Sequence[tuple[int, int]]) -> bool:
    """Return whether a bar has ended, and the clock jumped over no part of it."""
    return start + length <= end and not any(left < start + length and start < right for left, right in gaps)
