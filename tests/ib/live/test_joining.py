"""History joins live: bars reach back over stored ones, the journal and what is fetched, without a gap or a double."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.closing.evening import live_bars
from tests.ib.conftest import at
from tests.ib.live_market import Market, assert_same, market_at, until
from workbench.gateway.faults import When
from workbench.gateway.faults.stream import Refuse
from workbench.gateway.revise import RevisedTape
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.backfill import plan_backfill
from workbench.ib.closing.save import Parts, save_sessions
from workbench.ib.live.past import Past
from workbench.ib.live.session import LiveSession
from workbench.market.aggregate.levels import LEVELS
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.store.closings import Closings
from workbench.store.historical import HistoricalDataManager

SPEED = 200.0
LATE_S = 600.0
"""How much later than its end a bar may be complete, in the gateway's time, on a machine that is busy."""
BARS = 90
LEVEL_NAMES = [timeframe.name for timeframe in LEVELS]
DURATIONS = {"1min": "3 D", "5min": "6 D", "15min": "12 D", "1hour": "40 D", "4hour": "30 W", "1day": "1 Y"}

REFUSED = Refuse(code=354, text="Requested market data is not subscribed.")

MOMENTS = {
    "before the open": ("2026-11-20T09:29:20", "2026-11-20T09:33:00", "2026-11-19"),
    "within a bucket, after three days away": ("2026-11-20T10:07:23", "2026-11-20T10:11:00", "2026-11-17"),
    "seconds before the close": ("2026-11-20T15:59:50", "2026-11-20T16:03:00", "2026-11-20"),
    "after the close": ("2026-11-20T16:05:00", "2026-11-20T16:06:00", "2026-11-18"),
    "before the end of a half day": ("2026-11-27T12:57:30", "2026-11-27T13:03:00", "2026-11-25"),
    "after the clocks went back": ("2026-11-02T10:07:23", "2026-11-02T10:12:00", "2026-10-29"),
    "after the clocks went ahead": ("2026-03-09T09:31:00", "2026-03-09T09:36:00", "2026-03-04"),
    "with nothing stored": ("2026-11-20T11:29:57", "2026-11-20T11:33:00", ""),
}


@contextmanager
def joined(market: Market, folder: Path) -> Iterator[tuple[LiveSession, Parts]]:
    """Give a live session over a store."""
    database = market.journal._database
    store = HistoricalDataManager(folder / "historical", database=database)
    parts = Parts(market.ib, store, market.journal, Closings(database))
    with LiveSession(
        lambda: market.ib, lambda: market.journal, lambda: Past(store, market.journal, parts.closings, BARS)
    ) as live:
        market.live = live
        yield live, parts


def store_until(parts: Parts, day: str) -> None:
    since = date.fromisoformat(day) - timedelta(days=40)
    plan_backfill(parts.ib, parts.store, ["KO"], LEVEL_NAMES, since=since, until=day).run(progress=False)


def is_whole(bars: pd.DataFrame) -> bool:
    built = bars[bars["complete"] & bars["received"].notna()]
    return bool((built["received"] == built["expected"]).all())


def assert_whole(live: LiveSession, market: Market, timeframe: str, least: int) -> None:
    """Compare all that is there with IB's history of the same time."""
    late = pd.Timedelta(seconds=LATE_S)
    newest = market.ib.fetch_historical_bars("KO", timeframe, DURATIONS[timeframe]).index[-1]
    until(lambda: live.bars("KO", timeframe).index[-1] >= newest - late)
    until(lambda: is_whole(live.bars("KO", timeframe)))  # what has come late is built in soon
    bars = live.bars("KO", timeframe)
    complete = bars[bars["complete"]].drop(columns=["complete", "received", "expected"])
    history = market.ib.fetch_historical_bars("KO", timeframe, DURATIONS[timeframe])
    begin, last = (
        complete.index[0],
        min(complete.index[-1], history.index[-1]),
    )  # the clock is a second old

    assert history.index[0] < begin
    assert_same(complete[complete.index <= last], history[(history.index >= begin) & (history.index <= last)])
    assert len(complete) >= least
    assert bars["complete"].iloc[:-1].all()


@pytest.mark.parametrize(("start", "end", "stored"), MOMENTS.values(), ids=MOMENTS)
def test_bars_reach_back_without_a_gap_or_a_double(start: str, end: str, stored: str, tmp_path: Path) -> None:
    with market_at(start, SPEED, tmp_path) as market, joined(market, tmp_path) as (live, parts):
        if stored:
            store_until(parts, stored)

        live.start("KO")
        market.wait_until(end)
        until(lambda: live.status().open_gaps == 0 and live.status().history == "")

        for timeframe in LEVEL_NAMES:
            assert_whole(live, market, timeframe, BARS)


def test_a_restart_in_the_session_joins_what_was_heard_before_it(tmp_path: Path) -> None:
    with market_at("2026-11-20T10:07:00", SPEED, tmp_path) as market, joined(market, tmp_path) as (live, _):
        live.start("KO")
        market.wait_settled("2026-11-20T10:09:00")
        live.stop()
        heard = len(market.journal.load("KO"))

        live.start("KO")
        until(lambda: len(market.journal.load("KO")) > heard)
        market.wait_settled("2026-11-20T10:13:00")
        until(lambda: live.status().history == "")

        for timeframe in LEVEL_NAMES:
            assert_whole(live, market, timeframe, BARS)


def test_sessions_that_wait_in_the_journal_count_where_history_is_out_of_reach(tmp_path: Path) -> None:
    with market_at("2026-11-20T10:07:00", SPEED, tmp_path) as market, joined(market, tmp_path) as (live, parts):
        store_until(parts, "2026-11-18")
        market.journal.append([*live_bars("KO", date(2026, 11, 18)), *live_bars("KO", date(2026, 11, 19))])
        told = {name: market.ib.fetch_historical_bars("KO", name, DURATIONS[name]) for name in LEVEL_NAMES}
        market.strike(REFUSED, When(message="reqHistoricalData", times=0))

        live.start("KO")
        until(lambda: "NOT JOINED" in live.status().history)

        for name in LEVEL_NAMES:
            bars, history = live.bars("KO", name), told[name]
            earlier = bars[bars.index < ("2026-11-20" if name == "1day" else "2026-11-20T14:30Z")]
            assert_same(earlier, history[(history.index >= earlier.index[0]) & (history.index <= earlier.index[-1])])
            built = earlier[earlier.index >= "2026-11-18"]
            assert (built["received"] == built["expected"]).all()
            assert name == "1min" or built["received"].sum() == 2 * 4680
            assert earlier["received"].isna().sum() == len(earlier) - len(built)
            assert name == "1min" or len(earlier) > len(built)


def test_bars_are_short_rather_than_with_a_gap_while_history_cannot_be_had(tmp_path: Path) -> None:
    with market_at("2026-11-20T10:07:00", SPEED, tmp_path) as market, joined(market, tmp_path) as (live, parts):
        store_until(parts, "2026-11-17")
        market.strike(REFUSED, When(message="reqHistoricalData", times=0))

        live.start("KO")
        market.wait_until("2026-11-20T10:12:00")
        until(lambda: "NOT JOINED" in live.status().history)

        for timeframe in LEVEL_NAMES:
            assert (live.bars("KO", timeframe).index >= "2026-11-20").all()


def test_a_recorder_that_runs_for_days_has_history_for_the_sessions_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a session that has ended the built bars give way when the next one begins; what is kept does not grow."""
    monkeypatch.setattr("workbench.ib.live.subscriber._READ_CLOCK_S", 0.1)  # the clock jumps over the night
    tape = RevisedTape(SimulatedTape(1, start=int(at("2026-11-19T15:57:00"))), 0.1)  # history is not what it streamed
    with market_at("2026-11-19T15:57:00", SPEED, tmp_path, tape=tape) as market, joined(market, tmp_path) as (live, _):
        live.start("KO")
        market.wait_settled("2026-11-19T16:00:30")
        until(lambda: live.status().history == "" and live.bars("KO", "1min", 1)["complete"].all())
        built = live.bars("KO", "1min")
        assert built["received"].notna().sum() == 390

        market.gateway.jump(at("2026-11-20T09:29:50"))
        until(lambda: live.bars("KO", "1min").index[-1] >= pd.Timestamp("2026-11-20T14:30Z"))
        until(lambda: live.status().history == "")

        for timeframe in LEVEL_NAMES:
            bars, history = (
                live.bars("KO", timeframe),
                market.ib.fetch_historical_bars("KO", timeframe, DURATIONS[timeframe]),
            )
            behind = bars[bars.index < ("2026-11-20" if timeframe == "1day" else "2026-11-20T14:30Z")]
            expected = history[(history.index >= behind.index[0]) & (history.index <= behind.index[-1])]
            assert behind["received"].isna().all()
            assert_same(behind.tail(len(expected)), expected)
        assert not live.bars("KO", "1min").loc[built.index[-390:], "volume"].equals(built["volume"].iloc[-390:])


def test_saved_sessions_take_the_place_of_what_the_journal_had(tmp_path: Path) -> None:
    with market_at("2026-11-20T09:31:00", SPEED, tmp_path) as market, joined(market, tmp_path) as (live, parts):
        market.journal.append(live_bars("KO", date(2026, 11, 19)))
        save_sessions(parts, progress=False)

        live.start("KO")
        until(lambda: live.status().open_gaps == 0 and live.status().history == "")
        until(lambda: len(live.bars("KO", "1min", 1)) == 1)

        bars = live.bars("KO", "1min")
        yesterday = bars[bars.index.tz_convert(EXCHANGE_ZONE).date == date(2026, 11, 19)]
        assert len(yesterday) == 390
        assert yesterday["received"].isna().all()
