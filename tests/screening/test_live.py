"""The fine screen: the same scores as the coarse one, to the last bit, and turns told once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.screening.bars import TIMEFRAMES_USED, Market, all_timeframes, daily, quarters, told_suite, windows_of
from workbench.market.aggregate.grid import bar_ends
from workbench.market.aggregate.ring import WIDTH, Rows
from workbench.market.bars import REQUIRED
from workbench.market.timeframes import TIMEFRAMES
from workbench.screening.live import LiveScreen, Turn
from workbench.screening.rules import Rule, make_rule
from workbench.screening.screen import run_screen
from workbench.screening.watch import ScreenWatch
from workbench.store.database import DatabaseManager

CLOSE = datetime(2026, 11, 20, 21, tzinfo=UTC)
RULE = make_rule(bars=90, gates={"range": "100 * atr / close >= 0.1"}, alert_score=20.0)
MARKET = {f"S{seed}": all_timeframes(quarters(CLOSE, 45, seed, drop=0.02 * seed)) for seed in range(3)}
ENDS = {
    symbol: {name: bar_ends(bars.index.as_unit("s").asi8, TIMEFRAMES[name]) for name, bars in frames.items()}
    for symbol, frames in MARKET.items()
}


def rows_of(bars: pd.DataFrame) -> Rows:
    """Return bars as the aggregator keeps them."""
    rows = np.full((len(bars), WIDTH), np.nan)
    rows[:, 0] = bars.index.as_unit("s").asi8
    rows[:, 1 : 1 + len(REQUIRED)] = bars[list(REQUIRED)]
    return rows


class Session:
    """A market that goes on bar by bar: what is complete, and what has changed since."""

    def __init__(self, market: Market, begin: datetime) -> None:
        self.market, self.moment = market, begin.timestamp()

    def rows(self, symbol: str, timeframe: str) -> Rows:
        complete = int((ENDS[symbol][timeframe] <= self.moment).sum())
        return rows_of(self.market[symbol][timeframe].iloc[:complete])

    def next(self) -> list[tuple[str, str]]:
        """Go to the next moment at which a bar is complete; return the series of which one is."""
        ends = [one for of in ENDS.values() for some in of.values() for one in some[some > self.moment][:1].tolist()]
        self.moment = min(ends)
        return [(symbol, name) for symbol, of in ENDS.items() for name, some in of.items() if self.moment in some]


def assert_same_as_coarse(screen: LiveScreen, session: Session) -> None:
    as_of = datetime.fromtimestamp(session.moment, UTC)
    market = {symbol: session.market[symbol] for symbol in screen.symbols}
    live, coarse = screen.result(), run_screen(screen.rule, screen.symbols, windows_of(market), as_of)
    assert live is not None
    assert live.as_of == as_of
    for part in ("table", "reasons", "shut", "lacking"):
        pd.testing.assert_frame_equal(getattr(live, part), getattr(coarse, part), check_exact=True)


def test_bar_by_bar_the_live_screen_is_the_coarse_one_of_that_moment_exactly() -> None:
    """Over three sessions' ends and a half day's, from before the open on."""
    session = Session(MARKET, CLOSE - timedelta(days=4, hours=7))
    screen = LiveScreen(RULE)
    screen.take([(symbol, name) for symbol in MARKET for name in TIMEFRAMES_USED], session.rows)

    found = 0
    for at in range(90):
        screen.take(session.next(), session.rows)
        if at % 3 == 0 or session.moment in ENDS["S0"]["1day"]:
            assert_same_as_coarse(screen, session)
        result = screen.result()
        assert result is not None
        found += len(result.table)
    assert found > 90


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 20), st.lists(st.sampled_from(list(MARKET)), min_size=1, max_size=3, unique=True), st.data())
def test_in_whatever_order_series_join_the_screen_is_the_same(
    after: int, first: list[str], data: st.DataObject
) -> None:
    """Symbols come later, bars are made anew, history joins: what was told is what counts, not how often."""
    session = Session(MARKET, CLOSE - timedelta(days=1, hours=7))
    screen = LiveScreen(RULE)
    screen.take([(symbol, "15min") for symbol in first], session.rows)
    for _ in range(after):
        screen.take(session.next(), session.rows)
    everything = [(symbol, name) for symbol in MARKET for name in TIMEFRAMES_USED]
    screen.take(data.draw(st.permutations(everything)), session.rows)
    screen.take(session.next(), session.rows)
    screen.take(everything[:: data.draw(st.integers(1, 5))], session.rows)

    assert_same_as_coarse(screen, session)


TOLD = {"stoch_k": [50.0] * 20 + [40, 51], "stoch_d": [45.0] * 20 + [45, 50]}
"""A long turns at the newest bar, a short at the one before."""


def turning_rule(alert_score: float = 40.0, **columns: list[float]) -> Rule:
    return make_rule(
        suite=told_suite(**(TOLD | columns)), weights={"1day": 1.0}, trend=(), gates={}, alert_score=alert_score
    )


def turns_of(rule: Rule, *, heard: float = 1.0, known_before: int = 21) -> list[Turn]:
    """Let a symbol be seen with all bars but the newest, then with it."""
    rows = rows_of(daily(CLOSE, [100.0] * 22))
    rows[-1, -2:] = (4680 * heard, 4680)
    screen = LiveScreen(rule)
    turns = screen.take([("X", "1day")], lambda *_: rows[:known_before])
    return turns + screen.take([("X", "1day")], lambda *_: rows)


def test_a_symbol_turns_when_the_condition_begins_at_its_newest_bar() -> None:
    assert turns_of(turning_rule(stoch_k=[50.0] * 21 + [51], stoch_d=[45.0] * 20 + [50, 50])) == [
        Turn(CLOSE, "X", "long", "1day", "turning", 40.0)
    ]


@pytest.mark.parametrize(
    ("rule", "heard", "known_before", "why"),
    [
        (turning_rule(alert_score=40.1), 1.0, 21, "the score is too low"),
        (turning_rule(), 1.0, 22, "it had turned before it was seen here"),
        (turning_rule(), 0.8, 21, "a fifth of its bar is missing"),
        (make_rule(suite=told_suite(**TOLD), weights={"1day": 1.0}, trend=(), gates={"no": "close > 100"}),
         1.0, 21, "a gate is shut"),
    ],
)  # fmt: skip
def test_a_symbol_does_not_turn(rule: Rule, heard: float, known_before: int, why: str) -> None:
    assert [one for one in turns_of(rule, heard=heard, known_before=known_before) if one.side == "long"] == [], why


def test_a_turn_is_told_once_to_the_database_the_log_and_the_caller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, told, done = rows_of(daily(CLOSE, [100.0] * 22)), list[Turn](), threading.Event()
    rows[-1, -2:] = (4680, 4680)
    shown = [rows[:-1]]

    def on_alert(turn: Turn) -> None:
        told.append(turn)
        done.set()
        raise RuntimeError("the caller's own fault")

    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        database.save_watchlist(pd.DataFrame([["X", "long", 1.0]], columns=["symbol", "side", "score"]))
        watch = ScreenWatch(lambda: turning_rule(), lambda *_: shown[0], lambda: ["X"], lambda: database)
        watch.start(on_alert)
        watch.tell([("X", "1min")])
        watch.stop()  # what was there before is judged
        assert told == []

        watch.start(on_alert)
        watch.tell([("X", "1day")])
        while watch.result() is None:
            threading.Event().wait(0.01)
        shown[0] = rows
        watch.tell([("X", "1day")])
        assert done.wait(30)
        watch.tell([("X", "1day")])  # its bar is made anew
        watch.stop()

        assert [(one.symbol, one.side, one.at) for one in told] == [("X", "long", CLOSE)]
        saved = database.alerts()
        assert saved[["symbol", "side", "kind", "timeframe", "score"]].to_numpy().tolist() == [
            ["X", "long", "turning", "1day", 40.0]
        ]
        watchlist = database.load_latest_watchlist()
        assert watchlist["score"].tolist() == [40.0]
        assert watchlist["updated_at"].tolist() == [pd.Timestamp(CLOSE)]
    assert "X long: turning at 1day, score 40" in caplog.text
    assert "the caller's own fault" in caplog.text
    assert watch.error is None


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sets(st.sampled_from(list(MARKET))), min_size=1, max_size=4))
def test_who_is_dropped_is_forgotten_and_who_comes_back_is_judged_anew(lists: list[set[str]]) -> None:
    session = Session(MARKET, CLOSE - timedelta(days=1, hours=7))
    screen = LiveScreen(RULE)
    screen.take([(symbol, "15min") for symbol in MARKET], session.rows)
    for symbols in [*lists, {"S1", "S2"}]:
        screen.keep(symbols)
        come = [(symbol, "15min") for symbol in sorted(symbols - set(screen.symbols))]
        screen.take([*come, *(one for one in session.next() if one[0] in symbols)], session.rows)

        assert set(screen.symbols) == symbols
        assert (screen.result() is None) == (not symbols)
        if symbols and screen.as_of == datetime.fromtimestamp(session.moment, UTC):
            assert_same_as_coarse(screen, session)
    assert_same_as_coarse(screen, session)


def test_the_watch_follows_the_list_and_judges_no_bar_of_who_left_it(tmp_path: Path) -> None:
    rows, followed = rows_of(daily(CLOSE, [100.0] * 22)), ["X", "Y"]
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        watch = ScreenWatch(turning_rule, lambda *_: rows, lambda: followed, lambda: database)
        watch.start()
        while (first := watch.result()) is None:
            threading.Event().wait(0.01)
        assert set(first.table["symbol"]) == {"X", "Y"}

        followed.remove("Y")
        watch.tell([("Y", "1day")])  # a bar of it was still on its way
        dropped = watch.result()
        watch.stop()
        assert dropped is not None
        assert set(dropped.table["symbol"]) == {"X"}

        followed.clear()  # recording has ended: what was found stays to be looked at
        last = watch.result()
        assert last is not None
        assert set(last.table["symbol"]) == {"X"}


def test_a_watch_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: str) -> Rows:
        raise ZeroDivisionError("in the rows")

    watch = ScreenWatch(turning_rule, fail, lambda: ["X"], lambda: pytest.fail("nothing is saved"))
    watch.start()
    watch.stop()

    assert isinstance(watch.error, ZeroDivisionError)
    assert "nobody is told of turns any more" in caplog.text
