"""Backfills against a gateway that enforces IB's rules: no violation, and no request too many.

`make bench` runs the long form, beside the least time that the rules allow.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.ib.conftest import at
from tests.ib.strict import strict_gateway, strict_process
from workbench.errors import RequestTimeout, UnknownContract
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Fault, Refuse, When
from workbench.gateway.pending import Latency
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.backfill import download_historical_universe, fetch_multiple_symbols_parallel, plan_backfill
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.market.universe import default_universe
from workbench.store.historical import HistoricalDataManager

if TYPE_CHECKING:
    import ib_insync

START = at("2026-11-20T17:00")
SYMBOLS = list(default_universe())


def tape() -> SimulatedTape:
    return SimulatedTape(1, start=int(START))


def test_a_universe_takes_the_fewest_requests_and_breaks_no_rule(tmp_path: Path) -> None:
    """501 sessions: 13 000 quarters are three requests of 5 000, the others one each; fifty messages a second."""
    symbols, store = SYMBOLS[:16], HistoricalDataManager(tmp_path)
    with (
        strict_process(START, s_per_1000_bars=0.2) as (port, told),
        IBDataManager(IBConnectionConfig(port=port)) as ib,
    ):
        report = download_historical_universe(
            ib, store, symbols, ["15min", "1hour", "4hour", "1day"], since="2024-11-21", progress=False
        )

    (account,) = told
    assert not report.failed
    assert account.refusals == []
    assert len(account.history) == 16 * (3 + 1 + 1 + 1)
    assert account.heads == 0
    assert {one.saved.added for one in report.series if one.timeframe == "1day"} == {501}


def test_a_symbol_that_ib_refuses_is_asked_for_and_told_once(tmp_path: Path) -> None:
    refused = Fault(When("reqHistoricalData", symbol="JPM", times=0), Refuse("no-permission"))
    codes: list[int] = []

    async def hear(client: ib_insync.IB) -> None:
        client.errorEvent += lambda _number, code, _text, _contract: codes.append(code)

    with (
        running(tape(), GatewayClock(START), faults=[refused]) as gateway,
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port)) as ib,
    ):
        ib.use(hear)
        report = download_historical_universe(
            ib, HistoricalDataManager(tmp_path), ["NOPE", "JPM", "AAPL"], ["15min", "1hour", "1day"],
            since="2024-11-21", progress=False,
        )  # fmt: skip

    assert [one.symbol for one in report.failed] == ["NOPE"] * 3 + ["JPM"] * 3
    assert sorted(code for code in codes if code in (162, 200)) == [162, 200]
    lines = str(report).splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == ["NOPE 15min, 1hour, 1day", "JPM 15min, 1hour, 1day"]


def test_small_bars_wait_for_their_windows_and_break_none(tmp_path: Path) -> None:
    """65 requests of small bars: the last five have to wait for ten minutes of the gateway's time."""
    store, speed = HistoricalDataManager(tmp_path), 100.0
    with (
        strict_gateway(tape(), START, speed=speed) as (gateway, account),
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port, gateway_speed=speed)) as ib,
    ):
        backfill = plan_backfill(ib, store, SYMBOLS[3:8], ["5sec"], since="2026-11-04", until="2026-11-21")
        report = backfill.run(progress=False)

    assert str(backfill.forecast) == "to fetch: 65 requests, about 304,200 bars, about 10 min at IB's limits"
    assert not report.failed
    assert account.refusals == []
    assert len(account.history) == 65
    assert account.history[-1][0] - account.history[0][0] >= 600
    assert {one.saved.added for one in report.series} == {13 * 4680}


def test_a_request_that_times_out_is_halved_until_it_is_answered_and_the_size_is_remembered(tmp_path: Path) -> None:
    """A thousand bars take a second here, and nobody waits longer than three."""
    store = HistoricalDataManager(tmp_path)
    with (
        strict_gateway(tape(), START, latency=Latency(per_1000_bars_s=1.0)) as (gateway, account),
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port, request_timeout_s=3.0)) as ib,
    ):
        first = download_historical_universe(
            ib, store, ["AAPL"], ["1min"], since="2026-11-02", until="2026-11-21", progress=False
        )
        asked = len(account.history)
        second = download_historical_universe(
            ib, store, ["MSFT"], ["1min"], since="2026-11-02", until="2026-11-21", progress=False
        )

    assert not first.failed
    assert len(store.load_bars("AAPL", "1min")) == 15 * 390
    assert asked > first.requests
    assert not second.failed
    assert len(account.history) - asked == second.requests == 3  # six sessions at a time


def test_one_that_never_answers_in_time_fails_and_says_what_to_do(tmp_path: Path) -> None:
    with (
        strict_gateway(tape(), START, latency=Latency(base_s=60.0)) as (gateway, _),
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port, request_timeout_s=0.3)) as ib,
    ):
        report = download_historical_universe(
            ib, HistoricalDataManager(tmp_path), ["AAPL"], ["1day"], since="2026-01-02", progress=False
        )

    assert isinstance(report.series[0].error, RequestTimeout)
    assert report.to_frame()["next_step"][0].startswith("run it again later")


def test_the_head_timestamp_bounds_the_past_and_is_asked_for_once_a_symbol(tmp_path: Path) -> None:
    """This market began ten years ago, its hours two years ago; ten requests would reach back to 1990."""
    store = HistoricalDataManager(tmp_path)
    early = SimulatedTape(1, start=int(at("2018-06-01T17:00")))
    with (
        strict_gateway(early, at("2018-06-01T17:00")) as (gateway, account),
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port)) as ib,
    ):
        bounds = {"since": "1990-01-02", "until": "2018-06-01", "progress": False}
        report = download_historical_universe(ib, store, ["AAPL"], ["1hour", "15min"], **bounds)
        fetched = len(account.history)
        again = download_historical_universe(ib, store, ["AAPL"], ["1hour", "15min"], **bounds)

    assert not report.failed
    assert account.heads == 1
    assert account.refusals == []
    assert report.series[0].requests <= 5
    assert fetched == report.requests
    assert again.requests == 0
    assert store.load_bars("AAPL", "1hour").index[0].year == 2016


def test_small_bars_that_ib_keeps_no_more_are_not_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        strict_gateway(tape(), START) as (gateway, account),
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port)) as ib,
    ):
        backfill = plan_backfill(
            ib, HistoricalDataManager(tmp_path), ["AAPL"], ["5sec"], since="2025-01-02", until="2026-05-28"
        )

    assert backfill.forecast.requests == 2  # six months ago it was 2026-05-24, and the 25th is Memorial Day
    assert "for six months" in caplog.text
    assert account.history == []


def test_revisions_within_the_overlap_replace_what_is_stored_and_are_counted(tmp_path: Path) -> None:
    """The second gateway tells the same session a little otherwise, as IB does when it has corrected trades."""
    store = HistoricalDataManager(tmp_path)

    def filled(revised: bool, clock: str, *, overlap: bool) -> tuple[int, int]:
        market = tape() if not revised else Revised(tape())
        with (
            running(market, GatewayClock(at(clock))) as gateway,
            IBDataManager(IBConnectionConfig(gateway.host, gateway.port)) as ib,
        ):
            backfill = plan_backfill(ib, store, ["AAPL"], ["1hour"], since="2026-11-09", overlap=overlap)
            report = backfill.run(progress=False)
        assert not report.failed
        return report.added, report.revised

    assert filled(False, "2026-11-18T17:00", overlap=False) == (8 * 7, 0)
    before = store.load_bars("AAPL", "1hour")
    assert filled(True, "2026-11-18T17:00", overlap=False) == (0, 0)
    assert filled(True, "2026-11-20T17:00", overlap=True) == (2 * 7, 7)
    after = store.load_bars("AAPL", "1hour")
    pd.testing.assert_frame_equal(after.iloc[: 7 * 7], before.iloc[: 7 * 7])
    assert (after["volume"].iloc[49:56] != before["volume"].iloc[49:56]).all()


class Revised:
    """A tape whose volumes were corrected."""

    def __init__(self, tape: SimulatedTape) -> None:
        self._tape = tape

    def __getattr__(self, name: str) -> object:
        return getattr(self._tape, name)

    def bars(self, *what: object, **how: object) -> object:
        from dataclasses import replace

        bars = self._tape.bars(*what, **how)  # type: ignore[arg-type]
        return replace(bars, volume=bars.volume + 100)


def test_many_symbols_are_fetched_at_once_and_one_that_fails_stops_none(tmp_path: Path) -> None:
    with (
        strict_gateway(tape(), START) as (gateway, account),
        IBDataManager(IBConnectionConfig(gateway.host, gateway.port)) as ib,
    ):
        bars = fetch_multiple_symbols_parallel(ib, ["AAPL", "NOPE", "VIX"], "15 mins", "2 D")

    assert {symbol: len(frame) for symbol, frame in bars.items()} == {"AAPL": 52, "VIX": 52}
    with pytest.raises(UnknownContract):
        bars["NOPE"]
    with pytest.raises(KeyError):
        bars["NOT ASKED FOR"]
    assert account.refusals == []
