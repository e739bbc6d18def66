from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import GatewayError
from workbench.gateway.aggregate import between, nothing
from workbench.gateway.realtime import Due, Feed, LiveBars
from workbench.gateway.tape import BarColumns, Instrument
from workbench.gateway.wire import FrameReader, fields

NEW_YORK = ZoneInfo("America/New_York")
AAPL = Instrument(265598, "AAPL", "STK", "NASDAQ", "APPLE INC")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


OPEN = at("2026-11-20 09:30")
CLOSE = at("2026-11-20 16:00")


def trades(rows: Sequence[tuple[int, float, float]]) -> BarColumns:
    """Return bars from rows of start, price, volume."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    price = table[:, 1]
    return BarColumns(
        table[:, 0].astype(np.int64), price, price + 1, price - 1, price, table[:, 2], price, np.full(len(table), 2)
    )


class Trades:
    """A tape of one symbol with five-second bars and nothing else."""

    account = "TEST"
    instruments = (AAPL,)

    def __init__(self, rows: Sequence[tuple[int, float, float]], *, broken: bool = False) -> None:
        self.rows = trades(rows)
        self.broken = broken
        self.looked_up = 0

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        return None

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        self.looked_up += 1
        if self.broken:
            raise GatewayError("5sec.parquet cannot be read")
        found = between(self.rows, begin, end) if step == 5 else nothing()
        return between(found, OPEN, CLOSE) if use_rth else found


def minute(begin: int = OPEN) -> list[tuple[int, float, float]]:
    """Return a minute of bars; in every second one nobody traded."""
    return [(begin + 5 * number, 10.0 + number, float(number % 2)) for number in range(12)]


def feed(what_to_show: str = "TRADES", *, use_rth: bool = True) -> Feed:
    return Feed(AAPL, what_to_show, use_rth, lots=True, version=176)


def received(due: Due) -> list[list[str]]:
    reader = FrameReader()
    reader.feed(bytes(due.data))
    return [fields(payload)[2:] for payload in reader.frames()]


def starts(due: Due) -> list[int]:
    return [int(texts[1]) - OPEN for texts in received(due)]


def live(rows: Sequence[tuple[int, float, float]], *, now: float, **options: object) -> LiveBars:
    bars = LiveBars(Trades(rows))
    bars.subscribe("client", 7, feed(**options), now)
    return bars


def test_a_bar_is_sent_when_its_five_seconds_are_over_and_not_before() -> None:
    bars = live([(OPEN, 10.0, 300)], now=OPEN)

    assert bars.tick(OPEN + 4.999) == {}
    assert received(bars.tick(OPEN + 5)["client"]) == [
        ["7", str(OPEN), "10.0", "11.0", "9.0", "10.0", "300", "10.0", "2"]
    ]
    assert bars.tick(OPEN + 9.999) == {}


@pytest.mark.parametrize(("offset", "first"), [(0, 0), (0.001, 5), (4.9, 5), (5, 5)])
def test_a_subscription_begins_with_the_next_boundary(offset: float, first: int) -> None:
    bars = live([(OPEN - 5, 10.0, 1), *minute()], now=OPEN + offset)

    assert starts(bars.tick(OPEN + 60)["client"])[0] == first


def test_all_that_became_due_since_the_last_tick_comes_in_order() -> None:
    bars = live(minute(), now=OPEN)
    bars.tick(OPEN + 7)

    assert starts(bars.tick(OPEN + 31)["client"]) == [5, 10, 15, 20, 25]


def test_what_is_streamed_is_what_the_tape_has() -> None:
    rows = [(OPEN - 3600, 9.5, 1.0), *minute(), (CLOSE - 5, 11.0, 0.0), (CLOSE, 12.0, 1.0)]

    inside = live(rows, now=OPEN - 7200).tick(CLOSE + 60)["client"]
    outside = live(rows, now=OPEN - 7200, use_rth=False).tick(CLOSE + 60)["client"]

    assert starts(inside) == [it[0] - OPEN for it in rows[1:-1]]
    assert starts(outside) == [it[0] - OPEN for it in rows]
    assert [texts[6] for texts in received(outside)] == [str(int(it[2])) for it in rows]


def test_quotes_lie_beside_the_trades() -> None:
    bars = live([(OPEN, 10.0, 1)], now=OPEN, what_to_show="ASK")

    assert received(bars.tick(OPEN + 5)["client"])[0][2:] == ["10.005", "11.005", "9.005", "10.005", "-1", "-1.0", "-1"]


def test_a_cancelled_subscription_and_a_gone_client_get_nothing() -> None:
    bars = live([(OPEN, 10.0, 1)], now=OPEN)
    bars.subscribe("other", 7, feed(), OPEN)
    bars.cancel("client", 7)

    assert list(bars.tick(OPEN + 5)) == ["other"]
    bars.forget("other")
    assert bars.tick(OPEN + 10) == {}
    assert bars.next_due(OPEN + 10) is None


def test_the_next_due_time_is_the_next_boundary_while_someone_is_subscribed() -> None:
    bars = live([], now=OPEN)

    assert bars.next_due(OPEN + 1.5) == OPEN + 5
    assert bars.next_due(OPEN + 5) == OPEN + 10


def test_a_symbol_is_looked_up_once_however_many_want_it() -> None:
    tape = Trades([(OPEN, 10.0, 1)])
    bars = LiveBars(tape)
    for client in range(50):
        bars.subscribe(client, 1, feed(), OPEN)
    before = tape.looked_up

    due = bars.tick(OPEN + 5)

    assert tape.looked_up == before + 1
    assert len(due) == 50


def test_bars_that_cannot_be_read_cost_their_subscribers_only() -> None:
    bars = LiveBars(Trades([], broken=True))
    bars.subscribe("client", 7, feed(), OPEN)

    due = bars.tick(OPEN + 5)["client"]

    assert [(req_id, str(error)) for req_id, error in due.broken] == [(7, "5sec.parquet cannot be read")]


def test_what_is_skipped_is_never_streamed() -> None:
    bars = live([*minute(), *minute(OPEN + 3600)], now=OPEN)
    bars.tick(OPEN + 7)

    bars.skip(OPEN + 3601)

    assert bars.tick(OPEN + 3605) == {}
    assert starts(bars.tick(OPEN + 3615)["client"]) == [3605, 3610]


@given(
    joins=st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=5).map(sorted),
    ticks=st.lists(st.integers(1, 30), min_size=1, max_size=6),
)
def test_whoever_joins_a_feed_gets_what_it_would_get_alone(joins: list[tuple[int, bool]], ticks: list[int]) -> None:
    moments = np.cumsum([0, *ticks]).tolist()
    together = LiveBars(Trades(minute()))
    alone = [LiveBars(Trades(minute())) for _ in joins]
    got: dict[int, list[int]] = {number: [] for number in range(len(joins))}
    expected: dict[int, list[int]] = {number: [] for number in range(len(joins))}

    for before, moment in pairwise([-1, *moments, 100]):
        for number, (offset, use_rth) in enumerate(joins):
            if before < offset <= moment:
                for bars in (together, alone[number]):
                    bars.subscribe(number, 7, feed(use_rth=use_rth), OPEN + offset)
        told = together.tick(OPEN + moment)
        for number, bars in enumerate(alone):
            got[number] += starts(told[number]) if number in told else []
            expected[number] += starts(due) if (due := bars.tick(OPEN + moment).get(number)) else []

    assert got == expected
    assert got == {number: list(range(-(-offset // 5) * 5, 60, 5)) for number, (offset, _) in enumerate(joins)}
