"""Saving sessions: what ends where, over a real connection to the built-in gateway."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import date
from itertools import count
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ib.closing.evening import FRIDAY, HALF_DAY, NAMES, evening, live_bars, session_of
from tests.ib.conftest import at
from tests.ib.live_market import assert_same, market_at, until
from workbench.errors import InvalidInput
from workbench.gateway.faults import Bust, Fault, When
from workbench.gateway.faults.stream import Refuse
from workbench.gateway.revise import RevisedTape
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.closing import save_sessions
from workbench.ib.closing.save import Parts
from workbench.market.coverage import Interval
from workbench.store.closings import Closings
from workbench.store.historical import HistoricalDataManager

EVENING = "2026-11-20T16:30:00"


def stored(parts: Parts, symbol: str, label: date = FRIDAY) -> dict[str, pd.DataFrame]:
    session = session_of(label)
    begin = {name: session.label_utc if name == "1day" else session.begin for name in NAMES}
    return {name: parts.store.load_bars(symbol, name, begin[name], session.end) for name in NAMES}


def told(parts: Parts, symbol: str, label: date = FRIDAY) -> dict[str, pd.DataFrame]:
    """Return IB's own history of a session."""
    session = session_of(label)
    frames = {
        name: parts.ib.fetch_historical_bars(symbol, name, "1 W" if name == "4hour" else "1 D", end=session.end)
        for name in NAMES
    }
    return {name: bars if name == "1day" else bars[bars.index >= session.begin] for name, bars in frames.items()}


def test_a_session_is_stored_at_every_timeframe_as_ib_tells_it_and_leaves_the_journal(
    tmp_path: Path, database_url: str
) -> None:
    with evening(EVENING, tmp_path, database_url) as here:
        here.parts.journal.append([*live_bars("AAPL", FRIDAY), *live_bars("SPX", FRIDAY)])

        report = save_sessions(here.parts, progress=False)

        assert [str(one) for one in report.sessions] == ["AAPL 2026-11-20: saved", "SPX 2026-11-20: saved"]
        assert here.left() == 0
        assert report.different == 0
        for symbol in ("AAPL", "SPX"):
            for name, bars in told(here.parts, symbol).items():
                assert_same(stored(here.parts, symbol)[name], bars)
        kept = here.parts.closings.load()
        assert kept["timeframe"].tolist() == 2 * NAMES
        assert kept.loc[kept["symbol"] == "AAPL", "bars"].tolist() == [4680, 390, 78, 26, 7, 2, 1]
        assert (kept["equal"] == kept["bars"]).all()


def test_history_wins_and_each_difference_is_counted_and_kept(tmp_path: Path) -> None:
    plain = SimulatedTape(1, start=int(at(EVENING)))
    with evening(EVENING, tmp_path, tape=RevisedTape(plain, 0.01)) as here:
        here.parts.journal.append(live_bars("AAPL", FRIDAY, plain))

        report = save_sessions(here.parts, progress=False)

        final = told(here.parts, "AAPL")
        built = {bar.timestamp: bar for bar in live_bars("AAPL", FRIDAY, plain)}
        heard = final["5sec"].index.as_unit("s").asi8
        prices = [
            any(built[start][2 + k] != row[k] for k in range(4))
            for start, row in zip(heard.tolist(), final["5sec"].to_numpy().tolist(), strict=True)
        ]
        rows = report.to_frame().set_index("timeframe")
        assert rows.loc["5sec", "price"] == sum(prices) > 0
        assert (rows["price"] + rows["volume"] + rows["equal"] == rows["bars"]).all()
        assert rows.loc["1day", "equal"] == 0
        assert_same(stored(here.parts, "AAPL")["1min"], final["1min"])
        kept = here.parts.closings.load().set_index("timeframe")
        assert kept["price"].tolist() == rows["price"].tolist()
        assert here.left() == 0


def test_twice_is_once(tmp_path: Path) -> None:
    with evening(EVENING, tmp_path) as here:
        here.parts.journal.append(live_bars("AAPL", FRIDAY))
        save_sessions(here.parts, progress=False)
        first, record = stored(here.parts, "AAPL"), here.parts.closings.load()

        again = save_sessions(here.parts, progress=False)

        assert not again.sessions
        assert "nothing waits" in repr(again)
        assert "was saved before" in repr(save_sessions(here.parts, session=FRIDAY, progress=False))
        pd.testing.assert_frame_equal(here.parts.closings.load(), record)
        for name, bars in stored(here.parts, "AAPL").items():
            pd.testing.assert_frame_equal(bars, first[name])


def test_sessions_left_over_are_saved_each_on_its_own_and_one_that_trades_is_left(tmp_path: Path) -> None:
    with evening("2026-11-30T10:00:00", tmp_path) as here:  # the Monday after a half day
        monday = [bar for bar in live_bars("KO", date(2026, 11, 30)) if bar.timestamp < at("2026-11-30T10:00:00")]
        here.parts.journal.append([*live_bars("KO", date(2026, 11, 25)), *live_bars("KO", HALF_DAY), *monday])

        report = save_sessions(here.parts, progress=False)

        assert [one.session for one in report.saved] == [date(2026, 11, 25), HALF_DAY]
        assert not report.open
        assert "it trades until 16:00" in repr(report)
        assert here.left() == len(monday) == 360
        assert len(stored(here.parts, "KO", HALF_DAY)["5sec"]) == 3.5 * 720
        assert_same(stored(here.parts, "KO", HALF_DAY)["4hour"], told(here.parts, "KO", HALF_DAY)["4hour"])


def test_a_session_that_ib_still_revises_is_stored_but_stays_in_the_journal(tmp_path: Path) -> None:
    with evening("2026-11-20T16:05:00", tmp_path) as here:
        here.parts.journal.append(live_bars("AAPL", FRIDAY))

        early = save_sessions(here.parts, progress=False)
        here.gateway.clock.jump(at("2026-11-20T16:15:30"))
        until(lambda: here.parts.ib.current_time().timestamp() > at("2026-11-20T16:15:00"))
        late = save_sessions(here.parts, progress=False)

        assert early.open[0].reason == "IB still revises it; save it after 16:15 New York"
        assert [str(one) for one in late.sessions] == ["AAPL 2026-11-20: saved"]
        assert here.left() == 0


def test_what_could_not_be_fetched_stays_in_the_journal_with_the_reason_and_the_rest_is_saved(tmp_path: Path) -> None:
    refusal = Refuse(code=354, text="Requested market data is not subscribed.")
    with evening(EVENING, tmp_path) as here:
        here.gateway.inject(Fault(When(message="reqHistoricalData", symbol="KO", times=0), refusal))
        here.parts.journal.append([*live_bars("AAPL", FRIDAY), *live_bars("KO", FRIDAY)])

        report = save_sessions(here.parts, progress=False)

        assert [one.symbol for one in report.saved] == ["AAPL"]
        assert "subscribe" in report.open[0].reason
        assert len(here.parts.journal.load("KO")) == here.left() == 4680

        stores = save_sessions(here.parts, symbols=["KO"], provisional=True, progress=False)

        assert [one.symbol for one in stores.saved] == ["KO"]
        assert stores.saved[0].provisional == dict(zip(NAMES, [4680, 390, 78, 26, 7, 2, 1], strict=True))
        assert here.left() == 0
        assert_same(stored(here.parts, "KO")["5sec"], stored_from(live_bars("KO", FRIDAY)))
        assert not here.parts.store.coverage("KO", "1min")
        assert len(here.parts.closings.load(symbols=["KO"])) == 7


def stored_from(bars: list[object]) -> pd.DataFrame:
    frame = pd.DataFrame(bars)
    index = pd.DatetimeIndex(pd.to_datetime(frame["timestamp"], unit="s", utc=True), name="timestamp").as_unit("us")
    return frame.drop(columns=["symbol", "timestamp"]).set_index(index).astype(float)


def test_what_was_heard_and_history_has_nothing_of_is_never_lost(tmp_path: Path) -> None:
    with evening(EVENING, tmp_path) as here:
        heard, session = live_bars("AAPL", FRIDAY), session_of(FRIDAY)
        here.parts.journal.append(heard)
        hole = Interval(session.begin.replace(hour=16, minute=0), session.begin.replace(hour=16, minute=20))
        bars = told(here.parts, "AAPL")["5sec"]
        kept = bars[(bars.index < hole.begin) | (bars.index >= hole.end)]
        whole = Interval(session.begin, session.end)
        here.parts.store.save_bars("AAPL", "5sec", kept, source=here.parts.ib.source, covers=whole)

        first = save_sessions(here.parts, progress=False)  # the store believes that nobody traded

        assert "no five-second bars of what was heard from 11:00 to 11:20" in first.open[0].reason
        assert here.left() == len(heard)
        assert list(here.parts.store.coverage("AAPL", "5sec").missing(whole)) == [hole]

        second = save_sessions(here.parts, progress=False)  # asked again, IB has them

        assert second.saved
        assert_same(stored(here.parts, "AAPL")["5sec"], bars)


def test_bars_that_come_to_the_journal_after_their_session_was_saved_do_not_change_the_record(tmp_path: Path) -> None:
    with evening(EVENING, tmp_path) as here:
        heard = live_bars("AAPL", FRIDAY)
        here.parts.journal.append(heard[:-100])
        save_sessions(here.parts, progress=False)
        record = here.parts.closings.load()

        here.parts.journal.append(heard[-100:])  # a recorder has filled its last gap
        save_sessions(here.parts, progress=False)

        assert here.left() == 0
        pd.testing.assert_frame_equal(here.parts.closings.load(), record)
        assert record["missing"].tolist()[0] == 100


def test_bars_that_come_while_a_session_is_saved_stay_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with evening(EVENING, tmp_path) as here:
        heard, close = live_bars("AAPL", FRIDAY), here.parts.closings.close
        here.parts.journal.append(heard[:-1])

        def late(*arguments: object, **more: object) -> int:
            here.parts.journal.append(heard[-1:])
            return close(*arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(here.parts.closings, "close", late)
        save_sessions(here.parts, progress=False)

        assert here.parts.journal.read().bars == heard[-1:]


def test_a_session_is_saved_while_the_next_one_is_recorded(tmp_path: Path) -> None:
    with market_at("2026-11-23T10:00:00", 100.0, tmp_path) as market:
        database = market.journal._database
        store = HistoricalDataManager(tmp_path / "historical", database=database)
        market.journal.append(live_bars("KO", FRIDAY))
        market.live.start("KO")
        until(lambda: len(market.journal.load("KO")) > 4680 + 360)

        report = save_sessions(Parts(market.ib, store, market.journal, Closings(database)), progress=False)

        assert [one.session for one in report.saved] == [FRIDAY]
        market.wait_settled("2026-11-23T10:05:00")
        left = market.journal.load("KO")
        assert left.index[0].timestamp() == at("2026-11-23T09:30:00")
        assert (left.index[1:] - left.index[:-1] == pd.Timedelta(seconds=5)).all()


def test_a_session_that_was_never_there_is_an_error_that_says_what_is(tmp_path: Path) -> None:
    with evening(EVENING, tmp_path) as here:
        with pytest.raises(InvalidInput, match="it is empty; record with workbench live"):
            save_sessions(here.parts, session=FRIDAY, progress=False)

        here.parts.journal.append(live_bars("AAPL", FRIDAY)[:3])
        with pytest.raises(InvalidInput, match="no live bars of 2026-11-19: it has 2026-11-20"):
            save_sessions(here.parts, session=date(2026, 11, 19), progress=False)
        assert "the journal has 2026-11-20" in repr(save_sessions(here.parts, symbols=["KO"], progress=False))


def test_what_a_dead_recorder_had_still_to_ask_for_is_found_when_the_session_is_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """IB annuls a trade; the recorder dies before it has asked for its bars again; nobody records until the close."""
    tape = RevisedTape(SimulatedTape(1, start=int(at("2026-11-20T15:45:00"))), 0.1)  # history is not what it streamed
    with market_at("2026-11-20T15:45:00", 20.0, tmp_path, tape=tape) as market:
        market.live.start(["KO"])
        counts = market.live.status().counts
        assert counts is not None
        until(lambda: counts.received > 6 and market.live.status().open_gaps == 0)
        market.strike(Bust(symbols=("KO",)))
        until(lambda: "a trade was annulled" in caplog.text)
        market.live.stop()
        assert counts.revised == 0
        heard = len(market.journal.load("KO"))

        market.gateway.jump(at("2026-11-20T16:20:00"))
        database = market.journal._database
        store = HistoricalDataManager(tmp_path / "historical", database=database)
        report = save_sessions(Parts(market.ib, store, market.journal, Closings(database)), progress=False)

        [saved] = report.saved
        found = saved.differences["5sec"]
        assert (saved.heard, found.missing) == (heard, 4680 - heard)
        assert found.volume > 0
        assert heard < 4680
        bars = store.load_bars("KO", "5sec")
        assert_same(bars, market.history("KO", "5sec", market.session("2026-11-20T15:45:00")))
        assert market.journal.load("KO").empty


def test_a_recorder_that_heard_half_is_told_what_it_missed(tmp_path: Path) -> None:
    with evening(EVENING, tmp_path) as here:
        heard = live_bars("AAPL", FRIDAY)
        here.parts.journal.append([*heard[:1000], *heard[1500:]])

        (one,) = save_sessions(here.parts, progress=False).saved

        assert one.differences["5sec"].missing == 500
        assert one.differences["1day"] == replace(one.differences["1day"], partial=1, bars=1)


class Killed(BaseException):
    """The end of a process, as far as one can have it in a test's own."""


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    step=st.integers(0, 8),
    is_after=st.booleans(),
    lost=st.sets(st.integers(0, 4679), max_size=200),
)
def test_stopped_anywhere_and_called_again_it_ends_the_same(
    tmp_path: Path, step: int, is_after: bool, lost: set[int]
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    with evening(EVENING, folder) as here, pytest.MonkeyPatch.context() as patch:
        heard = [bar for number, bar in enumerate(live_bars("AAPL", FRIDAY)) if number not in lost]
        here.parts.journal.append(heard)
        calls = count()

        def dying(method: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **more: object) -> object:
                number = next(calls)
                if number == step and not is_after:
                    raise Killed
                result = method(*arguments, **more)
                if number == step:
                    raise Killed
                return result

            return call

        patch.setattr(here.parts.store, "save_bars", dying(here.parts.store.save_bars))
        patch.setattr(here.parts.closings, "close", dying(here.parts.closings.close))
        with suppress(BaseException):
            save_sessions(here.parts, progress=False)
        assert here.left() in (0, len(heard))
        patch.undo()

        save_sessions(here.parts, progress=False)

        assert here.left() == 0
        final, kept = told(here.parts, "AAPL"), here.parts.closings.load().set_index("timeframe")
        for name, bars in stored(here.parts, "AAPL").items():
            assert_same(bars, final[name])
        assert kept.index.tolist() == NAMES
        assert kept["heard"].tolist() == 7 * [len(heard)]
        assert kept.loc["5sec", "missing"] + kept.loc["5sec", "equal"] == 4680
