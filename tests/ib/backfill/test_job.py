"""Backfill over the real ib_insync: what is missing, all of it, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.conftest import NEW_YORK, at
from workbench.errors import (
    CorruptPart,
    Disconnected,
    InvalidInterval,
    SourceMismatch,
    UnknownContract,
    UnknownTimeframe,
)
from workbench.gateway.clock import GatewayClock
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.backfill import BackfillReport, download_historical_universe, plan_backfill
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.market.coverage import Interval, parse_moment
from workbench.store.historical import HistoricalDataManager

Fill = Callable[..., BackfillReport]


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path / "historical")


@pytest.fixture
def fill(ib: IBDataManager, store: HistoricalDataManager) -> Fill:
    def filled(
        symbols: list[str] | str, timeframes: list[str] | str, since: str | None = "2026-10-01", **options: object
    ) -> BackfillReport:
        return download_historical_universe(ib, store, symbols, timeframes, since=since, progress=False, **options)

    return filled


def test_what_is_stored_is_what_the_gateway_has(ib: IBDataManager, store: HistoricalDataManager, fill: Fill) -> None:
    report = fill(["AAPL", "VIX"], ["15min", "1day"], since="2026-11-01")

    assert not report.failed
    for symbol in ("AAPL", "VIX"):
        asked = ib.fetch_historical_bars(symbol, "15 mins", "15 D")
        stored = store.load_bars(symbol, "15min")
        assert stored.index[0].isoformat() == "2026-11-02T14:30:00+00:00"
        pd.testing.assert_frame_equal(stored, asked, check_exact=True)
        assert len(store.load_bars(symbol, "1day")) == 14  # November's sessions up to the 19th


@pytest.mark.parametrize("timeframe", ["5sec", "1min", "5min", "15min", "1hour", "4hour", "1day"])
def test_every_timeframe_comes_whole(store: HistoricalDataManager, fill: Fill, timeframe: str) -> None:
    """Eight sessions in regular hours; 2026-11-09 to 2026-11-18."""
    fill(["MSFT"], [timeframe], since="2026-11-09", until="2026-11-19")

    a_session = {"5sec": 4680, "1min": 390, "5min": 78, "15min": 26, "1hour": 7, "4hour": 2, "1day": 1}
    assert len(store.load_bars("MSFT", timeframe)) == 8 * a_session[timeframe]


def test_a_half_day_ends_early(store: HistoricalDataManager, fill: Fill) -> None:
    fill(["AAPL"], ["1min", "15min", "1hour", "4hour"], since="2025-11-28", until="2025-11-29")

    last = {
        name: store.load_bars("AAPL", name).index[-1].strftime("%H:%M") for name in ("1min", "15min", "1hour", "4hour")
    }
    assert last == {"1min": "17:59", "15min": "17:45", "1hour": "17:00", "4hour": "17:00"}


def test_a_second_backfill_fetches_nothing_and_changes_nothing(store: HistoricalDataManager, fill: Fill) -> None:
    first = fill(["AAPL", "SPY"], ["1hour", "1day"], until="2026-11-19")
    before = {path: path.read_bytes() for path in store.data_dir.rglob("*.parquet") if path.is_file()}

    second = fill(["AAPL", "SPY"], ["1hour", "1day"], until="2026-11-19")

    assert first.added > 0
    assert (second.requests, second.added) == (0, 0)
    assert {path: path.read_bytes() for path in store.data_dir.rglob("*.parquet") if path.is_file()} == before


def test_a_longer_past_fetches_only_what_is_new(store: HistoricalDataManager, fill: Fill) -> None:
    fill(["AAPL"], ["1hour"], since="2026-11-02", until="2026-11-19")

    report = fill(["AAPL"], ["1hour"], since="2026-10-26", until="2026-11-19")

    assert (report.requests, report.added) == (1, 35)
    assert store.load_bars("AAPL", "1hour").index.is_monotonic_increasing


def test_a_hole_in_the_middle_is_found_and_filled(store: HistoricalDataManager, fill: Fill) -> None:
    fill(["AAPL"], ["1min"], since="2026-09-28", until="2026-11-07")
    whole = store.load_bars("AAPL", "1min")
    next(store.data_dir.rglob("2026-10.parquet")).unlink()

    report = fill(["AAPL"], ["1min"], since="2026-09-28", until="2026-11-07")

    assert report.added == (whole.index.month == 10).sum() > 0
    pd.testing.assert_frame_equal(store.load_bars("AAPL", "1min"), whole, check_exact=True)


def test_a_failing_symbol_does_not_stop_the_others(store: HistoricalDataManager, fill: Fill) -> None:
    report = fill(["NOPE", "AAPL"], ["1day"])

    assert [(one.symbol, type(one.error)) for one in report.failed] == [("NOPE", UnknownContract)]
    assert "NOPE" in str(report)
    assert len(store.load_bars("AAPL", "1day")) > 30
    assert store.load_bars("NOPE", "1day").empty
    assert len(store.coverage("NOPE", "1day")) == 0


def test_what_lies_before_the_first_bar_is_confirmed_empty_once(store: HistoricalDataManager, fill: Fill) -> None:
    """Intraday bars of this market begin on 2024-11-20 or so."""
    first = fill(["AAPL"], ["4hour"], since="2023-06-01", until="2025-01-01")
    second = fill(["AAPL"], ["4hour"], since="2023-06-01", until="2025-01-01")

    assert not first.failed
    assert store.load_bars("AAPL", "4hour").index[0].year == 2024
    wanted = Interval(parse_moment("2023-06-01", NEW_YORK), parse_moment("2025-01-01", NEW_YORK))
    assert len(store.coverage("AAPL", "4hour").missing(wanted)) == 0
    assert second.requests == 0


def test_the_forming_bar_is_never_stored_and_the_newest_are_asked_for_again(tmp_path: Path) -> None:
    store, tape = HistoricalDataManager(tmp_path), SimulatedTape(1, start=int(at("2026-11-20T09:25")))

    def filled_at(clock: str) -> tuple[str, int, BackfillReport]:
        with running(tape, GatewayClock(at(clock))) as gateway, IBDataManager(_config(gateway)) as ib:
            report = download_historical_universe(ib, store, ["AAPL"], ["5min"], since="2026-11-19", progress=False)
        stored = store.load_bars("AAPL", "5min")
        return f"{stored.index[-1].tz_convert('America/New_York'):%H:%M}", len(stored), report

    assert filled_at("2026-11-20T10:07:30")[:2] == ("10:00", 78 + 7)
    last, bars, report = filled_at("2026-11-20T10:32:30")
    assert (last, bars) == ("10:25", 78 + 12)
    assert sum(one.saved.unchanged for one in report.series) >= 2  # 09:55 and 10:00 were younger than 15 minutes
    last, bars, report = filled_at("2026-11-20T17:00:00")
    assert (last, bars) == ("15:55", 156)
    assert filled_at("2026-11-20T17:01:00")[2].requests == 0


def test_a_begin_in_the_future_is_refused(fill: Fill) -> None:
    with pytest.raises(InvalidInterval, match="lies in the future"):
        fill(["AAPL"], ["15min"], since="2026-12-01")


def test_without_a_begin_it_reaches_back_from_the_end(store: HistoricalDataManager, fill: Fill) -> None:
    fill("AAPL", "5min", since=None, until="2026-06-06")

    assert store.load_bars("AAPL", "5min").index[0].isoformat() == "2026-03-09T13:30:00+00:00"


def test_one_symbol_may_stand_alone_and_one_named_twice_is_fetched_once(fill: Fill) -> None:
    report = fill(["KO", "KO"], "1day", since="2026-11-02")

    assert [(one.symbol, one.requests) for one in report.series] == [("KO", 1)]
    assert [one.symbol for one in fill("KO", ["1day"], since="2026-11-02").series] == ["KO"]


def test_four_hour_bars_are_whole_when_the_clocks_have_changed_in_between(
    store: HistoricalDataManager, fill: Fill
) -> None:
    """Two weeks before 10:00 in summer time it was 10:00 in winter time, after the first bar had begun."""
    fill("AAPL", "4hour", since="2026-03-04", until="2026-03-18T14:00Z")

    stored = store.load_bars("AAPL", "4hour")
    assert stored.index[0].isoformat() == "2026-03-04T14:30:00+00:00"
    assert len(stored) == 21  # ten sessions, and the bar that starts at 09:30 on the 18th


def test_four_hour_bars_wait_for_the_end_of_their_session(store: HistoricalDataManager, fill: Fill) -> None:
    """Where IB cuts them is not verified."""
    fill("AAPL", "4hour", since="2026-11-16")

    assert store.load_bars("AAPL", "4hour").index[-1].isoformat() == "2026-11-19T17:00:00+00:00"


@pytest.mark.parametrize("timeframe", ["1min", "15min", "1hour", "4hour"])
def test_requests_end_at_the_edge_of_a_bar(store: HistoricalDataManager, fill: Fill, timeframe: str) -> None:
    """Bars that start from 15:07:30 to 18:37:30 UTC are wanted; the first and the last edge lie further on."""
    fill("AAPL", timeframe, since="2026-11-18T15:07:30Z", until="2026-11-18T18:37:30Z")

    edges = {
        "1min": ("15:08", "18:38"),
        "15min": ("15:15", "18:45"),
        "1hour": ("16:00", "19:00"),
        "4hour": ("17:00", "21:00"),
    }
    (covered,) = store.coverage("AAPL", timeframe)
    assert (f"{covered.begin:%H:%M}", f"{covered.end:%H:%M}") == edges[timeframe]
    assert f"{store.load_bars('AAPL', timeframe).index[0]:%H:%M}" == edges[timeframe][0]


def test_all_hours_in_a_series_of_regular_hours_are_refused(store: HistoricalDataManager, fill: Fill) -> None:
    fill("AAPL", "15min", since="2026-11-09")

    report = fill("AAPL", "15min", since="2026-11-09", use_rth=False)

    assert [type(one.error) for one in report.failed] == [SourceMismatch]
    assert "TRADES bars of regular hours from built-in gateway (SIMULATED-1-R1)" in str(report)


def test_a_date_begins_before_its_early_hours_and_ends_after_its_late_ones(
    store: HistoricalDataManager, fill: Fill
) -> None:
    fill("SPY", "1hour", since="2026-11-17", until="2026-11-18", use_rth=False)

    local = store.load_bars("SPY", "1hour").index.tz_convert("America/New_York")
    assert {f"{moment:%m-%d}" for moment in local} == {"11-17"}
    assert (f"{local[0]:%H:%M}", f"{local[-1]:%H:%M}") == ("04:00", "19:00")


def test_an_end_before_its_begin_is_refused(fill: Fill) -> None:
    with pytest.raises(InvalidInterval, match="does not lie after"):
        fill(["AAPL"], ["1day"], since="2026-11-02", until="2026-11-01")


def test_an_unknown_timeframe_is_refused(fill: Fill) -> None:
    with pytest.raises(UnknownTimeframe, match="did you mean 15min"):
        fill(["AAPL"], ["15mins"])


@pytest.mark.parametrize("where", ["end", "bars"])
def test_a_part_that_cannot_be_read_is_set_aside_named_and_fetched_again(
    store: HistoricalDataManager, fill: Fill, where: str
) -> None:
    fill(["AAPL", "SPY"], ["1day"], since="2026-01-02", until="2026-11-01")
    part = next((store.data_dir / "stocks" / "AAPL").rglob("2026.parquet"))
    whole = part.read_bytes()
    broken = whole[:1000] if where == "end" else whole[:4] + bytes(byte ^ 255 for byte in whole[4:60]) + whole[60:]
    part.write_bytes(broken)
    with pytest.raises(CorruptPart, match="workbench check 'AAPL' -t 1day --fix"):
        store.load_bars("AAPL", "1day")

    report = fill(["AAPL", "SPY"], ["1day"], since="2026-01-02", until="2026-11-19")

    (aside,) = report.series[0].saved.set_aside
    assert not report.failed
    assert str(aside) in str(report)
    assert aside.read_bytes() == broken
    first, last = store.load_bars("SPY", "1day").index[[0, -1]]
    assert len(store.load_bars("AAPL", "1day", first, last + pd.Timedelta(days=1))) == len(
        store.load_bars("SPY", "1day")
    )
    if where == "end":  # nobody knows which time its bars were of, so the rest of it is missing until it is asked for
        with pytest.raises(CorruptPart, match="were set aside"):
            store.load_bars("AAPL", "1day")
        fill(["AAPL"], ["1day"], since="2026-01-01T00:00Z", until="2027-01-01T00:00Z")
    assert store.load_bars("AAPL", "1day").index[0] == first


def test_a_plan_changes_nothing_even_where_a_part_cannot_be_read(
    ib: IBDataManager, store: HistoricalDataManager, fill: Fill
) -> None:
    fill(["AAPL"], ["1day"], since="2026-01-02", until="2026-11-01")
    next(store.data_dir.rglob("2026.parquet")).write_bytes(b"broken")
    before = {path: path.read_bytes() for path in store.data_dir.rglob("*") if path.is_file()}

    planned = plan_backfill(ib, store, ["AAPL"], ["1day"], since="2026-01-02", until="2026-11-01")

    assert planned.forecast.requests == 1
    assert {path: path.read_bytes() for path in store.data_dir.rglob("*") if path.is_file()} == before


def test_the_bar_of_progress_counts_each_answer_once(
    ib: IBDataManager, store: HistoricalDataManager, capsys: pytest.CaptureFixture[str]
) -> None:
    backfill = plan_backfill(ib, store, ["AAPL", "MSFT"], ["1min"], since="2026-06-01", until="2026-11-19")

    report = backfill.show_and_run()

    shown = capsys.readouterr()
    assert str(backfill.forecast) in shown.out
    assert report.requests > 15
    assert f"| {report.requests}/{report.requests} [" in shown.err.split("\r")[-1]


def test_bars_of_another_market_are_refused(store: HistoricalDataManager, fill: Fill) -> None:
    fill(["AAPL"], ["1day"])
    before = store.load_bars("AAPL", "1day")

    with running(SimulatedTape(2)) as other, IBDataManager(_config(other)) as ib:
        report = download_historical_universe(ib, store, ["AAPL", "MSFT"], ["1day"], since="2026-01-02", progress=False)

    assert {type(one.error) for one in report.failed} == {SourceMismatch}
    pd.testing.assert_frame_equal(store.load_bars("AAPL", "1day"), before, check_exact=True)


def test_when_the_gateway_dies_the_rest_fails_and_the_next_backfill_goes_on(tmp_path: Path) -> None:
    store, start = HistoricalDataManager(tmp_path), at("2026-11-20T17:00")
    symbols, tape = ["AAPL", "MSFT", "SPY", "KO"], SimulatedTape(1, start=int(start))

    def filled() -> BackfillReport:
        return download_historical_universe(ib, store, symbols, ["1min"], since="2026-06-01", progress=False)

    with ThreadPoolExecutor(1) as pool:
        with running(tape, GatewayClock(start)) as gateway:
            port = gateway.port
            ib = IBDataManager(IBConnectionConfig(gateway.host, port, patience_s=0.5))
            ib.connect()
            filling = pool.submit(filled)
            _await_parts(tmp_path, 3)
        first = filling.result()
    with running(tape, GatewayClock(start), port=port):
        ib.connect()
        second = filled()
        ib.disconnect()

    assert {type(one.error) for one in first.failed} == {Disconnected}
    assert not second.failed
    assert {len(store.load_bars(symbol, "1min")) for symbol in symbols} == {390 * 122}


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
def test_one_that_was_ended_goes_on_where_it_was(market: GatewayServer, tmp_path: Path, number: signal.Signals) -> None:
    symbols, folder = ["AAPL", "MSFT"], tmp_path / "ended"
    command = [sys.executable, "-m", "workbench", "backfill", *symbols, "-t", "1min", "--since", "2025-10-01"]
    command += ["--until", "2026-11-01", "--gateway", f"{market.host}:{market.port}"]
    whole = HistoricalDataManager(tmp_path / "whole" / "historical")

    def environment(data_dir: Path) -> dict[str, str]:
        return os.environ | {"WORKBENCH_DATA_DIR": str(data_dir)}

    child = subprocess.Popen(command, env=environment(folder), stdout=subprocess.PIPE, text=True)
    _await_parts(folder, 4)
    child.send_signal(number)
    said, _ = child.communicate(timeout=60)
    subprocess.run(command, env=environment(tmp_path / "whole"), check=True, capture_output=True)
    again = subprocess.run(command, env=environment(folder), check=True, capture_output=True, text=True)

    if number == signal.SIGINT:
        assert "interrupted: call it again" in said
        assert child.returncode == 130
    assert requests_in(again.stdout) < 46  # of 46: it did not begin anew
    if number == signal.SIGKILL:  # answers on their way are taken when it ends in peace; they may be all of them
        assert requests_in(again.stdout) > 0
    ended = HistoricalDataManager(folder / "historical")
    for symbol in symbols:
        assert ended.coverage(symbol, "1min") == whole.coverage(symbol, "1min")
        pd.testing.assert_frame_equal(
            ended.load_bars(symbol, "1min"), whole.load_bars(symbol, "1min"), check_exact=True
        )


def requests_in(report: str) -> int:
    """Return how many requests a report tells of."""
    return int(report.split(" requests")[0].rsplit(" ", 1)[1])


def _config(gateway: GatewayServer) -> IBConnectionConfig:
    return IBConnectionConfig(gateway.host, gateway.port)


def _await_parts(folder: Path, number: int) -> None:
    """Return as soon as that many parts are stored."""
    deadline = time.monotonic() + 60
    while len([path for path in folder.rglob("*.parquet") if path.is_file()]) < number:
        assert time.monotonic() < deadline
        time.sleep(0.001)
