"""The workbench as a user opens it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from workbench.errors import InvalidInput, InvalidSettings, SourceMismatch, UnknownContract
from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.settings import GatewaySettings, IBSettings, Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings that nothing outside of the test has a part in; the market stands on a Friday evening."""
    for name in [name for name in os.environ if name.startswith("WORKBENCH_") or name == "DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Settings(data_dir=tmp_path / "data", gateway=GatewaySettings(start="2026-11-20T17:00"))


@pytest.fixture
def desk(settings: Settings) -> Iterator[wb.Workbench]:
    with wb.open(settings=settings) as opened:
        yield opened


def test_opening_connects_nothing_and_writes_nothing(settings: Settings, tmp_path: Path) -> None:
    threads = set(threading.enumerate())

    with wb.open(settings=settings) as desk:
        assert "not connected" in repr(desk)

    assert set(threading.enumerate()) <= threads
    assert list(tmp_path.iterdir()) == []


def test_the_main_job_in_a_few_lines(desk: wb.Workbench) -> None:
    report = desk.backfill(["AAPL"], ["15min"], since="2026-10-01", progress=False)
    bars = desk.store.load_bars("AAPL", "15min")
    study = desk.indicators.calculate_all_indicators(bars)
    chart = wb.price_chart(study, symbol="AAPL", timeframe="15min", last=100, source=desk.store.source)

    assert report.added == len(bars) == 37 * 26
    assert study["sma_200"].notna().sum() == len(bars) - 199
    assert chart.to_png().startswith(b"\x89PNG")
    recorded = desk.db.load_series_metadata().iloc[0]
    assert (recorded["symbol"], recorded["timeframe"], recorded["bar_count"]) == ("AAPL", "15min", len(bars))
    assert recorded["start_date"] == bars.index[0]
    assert recorded["end_date"] == bars.index[-1]


def test_threads_that_first_use_ib_at_once_share_one_gateway(settings: Settings) -> None:
    threads = set(threading.enumerate())

    with wb.open(settings=settings) as desk:
        with ThreadPoolExecutor(4) as pool:
            managers = list(pool.map(lambda _: desk.ib, range(4)))
        assert len(set(map(id, managers))) == 1

    assert set(threading.enumerate()) <= threads


def test_a_kernel_in_the_notebooks_folder_finds_the_projects_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workbench.toml").write_text("[ib]\nport = 7497\n")
    (tmp_path / "notebooks").mkdir()

    monkeypatch.chdir(tmp_path)
    above = load_settings()
    monkeypatch.chdir(tmp_path / "notebooks")
    within = load_settings()

    assert within.ib.port == above.ib.port == 7497
    assert above.data_dir == Path("data")
    assert within.data_dir == tmp_path / "data"
    assert within.runs_dir == tmp_path / "papermill_runs"


def test_simulated_bars_stay_out_of_the_folder_of_real_ones(settings: Settings, tmp_path: Path) -> None:
    start = datetime(2026, 11, 20, 22, tzinfo=UTC).timestamp()
    with running(SimulatedTape(1, start=int(start)), GatewayClock(start)) as gateway:
        address = f"{gateway.host}:{gateway.port}"

        with wb.open(address) as desk, pytest.raises(SourceMismatch, match="WORKBENCH_DATA_DIR"):
            desk.backfill("AAPL", "1day", since="2026-11-02", progress=False)
        with wb.open(address, data_dir=tmp_path / "simulated") as desk:
            assert desk.backfill("AAPL", "1day", since="2026-11-02", progress=False).added == 15

    assert not (tmp_path / "data" / "historical").exists()


def test_the_embedded_gateway_ends_with_the_workbench(settings: Settings) -> None:
    with wb.open(settings=settings) as desk:
        assert desk.ib.connected
        gateway = desk._gateway
        assert gateway is not None
        assert gateway._process.poll() is None

    assert gateway._process.poll() == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the process in /proc, which Linux has")
def test_the_embedded_gateway_ends_with_a_process_that_is_killed(settings: Settings, tmp_path: Path) -> None:
    code = (
        "import os, signal, workbench as wb\n"
        "desk = wb.open('built-in')\n"
        "desk.ib\n"
        "print(desk._gateway._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    gateway = int(child.stdout)
    gone = threading.Event()
    threading.Thread(target=_await_end, args=(gateway, gone), daemon=True).start()
    assert gone.wait(20), f"process {gateway} outlived its owner"


def _await_end(process: int, gone: threading.Event) -> None:
    """Set `gone` when no living process has that number; a zombie nobody reaps is not alive."""
    while True:
        try:
            if Path(f"/proc/{process}/stat").read_text().split()[2] == "Z":
                break
        except FileNotFoundError:
            break
    gone.set()


def test_an_update_fetches_what_is_new_since_the_last_bar_whatever_the_gap(desk: wb.Workbench) -> None:
    desk.backfill(["AAPL"], ["1hour"], since="2026-06-01", until="2026-08-01", progress=False)

    desk.store.update_historical_data("AAPL", "1hour")

    bars = desk.store.load_bars("AAPL", "1hour")
    assert bars.index[0] == pd.Timestamp("2026-06-01 13:30", tz="UTC")
    assert bars.index[-1] == pd.Timestamp("2026-11-20 20:00", tz="UTC")
    assert len(bars) == 7 * 122


def test_an_update_that_fails_says_so(desk: wb.Workbench) -> None:
    with pytest.raises(UnknownContract):
        desk.store.update_historical_data("NOPE", "1hour")


def test_the_universe_may_be_the_users_own(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "universe.csv").write_text("symbol,kind,exchange,folder\nVIX,index,CBOE,indices\nKO,,,\n")

    with wb.open(settings=settings) as desk:
        report = desk.backfill(timeframes=["1day"], since="2026-11-02", progress=False)

    assert [(one.symbol, one.saved.added) for one in report.series] == [("VIX", 15), ("KO", 15)]
    assert (settings.market_dir / "historical" / "indices" / "VIX" / "1day.parquet").is_dir()


def test_a_malformed_universe_names_the_line(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "universe.csv").write_text("symbol,kind\nAAPL,stock\nSPY,fund\n")

    with wb.open(settings=settings) as desk, pytest.raises(InvalidInput, match="line 3"):
        desk.backfill(timeframes=["1day"], progress=False)


def test_markets_do_not_share_a_folder(settings: Settings) -> None:
    simulated, replayed = Settings(), Settings(gateway=GatewaySettings(tape="bars"))
    real = Settings(ib=IBSettings(port=7497))

    assert {one.market_dir for one in (simulated, replayed, real)} == {
        Path("data/demo"),
        Path("data/replay"),
        Path("data"),
    }


@pytest.mark.parametrize("gateway", ["nowhere", "127.0.0.1", ":7497", "127.0.0.1:port", "127.0.0.1:99999"])
def test_a_gateway_that_is_no_address_is_refused(gateway: str) -> None:
    with pytest.raises(InvalidSettings):
        load_settings(gateway=gateway)


def test_public_names_load_when_they_are_used() -> None:
    code = (
        "import sys, workbench as wb\n"
        "assert not {'pandas', 'sqlalchemy', 'ib_insync', 'talib'} & set(sys.modules)\n"
        "assert all(getattr(wb, name) for name in wb.__all__)\n"
        "assert 'ib_insync' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], check=True)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="workbench has no 'opne'"):
        _ = wb.opne


def test_only_ibs_own_gateways_are_reset_at_night_where_the_settings_say(
    desk: wb.Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_IB__RESET_REGION", "asia")
    monkeypatch.setenv("WORKBENCH_IB__PATIENCE_S", "90")

    with running(SimulatedTape(1)) as gateway, wb.open(f"{gateway.host}:{gateway.port}", data_dir=tmp_path) as other:
        assert (other.ib.config.reset_region, other.ib.config.patience_s) == ("asia", 90)
    assert desk.ib.config.reset_region is None


def test_a_session_that_is_not_over_has_no_daily_bar(settings: Settings) -> None:
    at_noon = settings.model_copy(update={"gateway": GatewaySettings(start="2026-11-20T12:00")})

    with wb.open(settings=at_noon) as desk:
        desk.backfill(["AAPL"], ["1day", "4hour"], since="2026-11-16", progress=False)

        assert desk.store.load_bars("AAPL", "1day").index[-1] == datetime(2026, 11, 19, tzinfo=UTC)
        assert desk.store.load_bars("AAPL", "4hour").index[-1] == pd.Timestamp("2026-11-19 17:00", tz="UTC")


def test_indicators_of_the_settings_join_the_suite_and_are_cached(settings: Settings, tmp_path: Path) -> None:
    more = settings.model_copy(update={"indicators": {"ema_9": {}, "spread": {"expression": "high - low"}}})
    with wb.open(settings=more) as desk:
        desk.backfill(["AAPL"], ["1day"], since="2026-01-01", progress=False)
        study = desk.indicators.calculate_indicators_cached("AAPL", "1day")

        assert study["ema_9"].notna().sum() == len(study) - 8
        assert (study["spread"] == study["high"] - study["low"]).all()
        assert list((desk.settings.market_dir / "cache" / "indicators").glob("*.arrow"))
    with pytest.raises(InvalidInput, match="did you mean EMA"):
        _ = wb.open(settings=settings.model_copy(update={"indicators": {"ena_9": {}}})).indicators


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ena_9 = {}", "indicators: ena_9: .*did you mean EMA"),
        ('fast = { function = "EMA", timeperoid = 9 }', "did you mean timeperiod"),
        ('spread = { expression = "hgih - low" }', "did you mean high"),
        ("sma_20 = {}", "there already"),
    ],
)
def test_a_wrong_indicator_is_refused_as_soon_as_the_settings_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, told: str
) -> None:
    (tmp_path / "workbench.toml").write_text(f"[indicators]\n{line}\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(InvalidSettings, match=told):
        wb.open()


def test_a_relative_database_is_the_projects_wherever_a_kernel_works(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workbench.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")

    for url, meant in (
        ("sqlite:///data/trading.db", f"sqlite:///{tmp_path.as_posix()}/data/trading.db"),
        ("sqlite:////elsewhere/trading.db", "sqlite:////elsewhere/trading.db"),
        ("postgresql://me@desk/trading", "postgresql://me@desk/trading"),
    ):
        monkeypatch.setenv("DATABASE_URL", url)
        assert load_settings().database.get_secret_value() == meant


def test_the_universe_and_the_watchlist_are_those_of_the_projects_database(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "universe.csv").write_text("symbol\nKO\nPEP\n")
    with wb.open() as desk:
        assert list(desk.universe) == ["KO", "PEP"]
        ranked = pd.DataFrame({"symbol": ["KO", "PEP"], "side": "long", "score": [10.0, 20.0]})
        desk.update_watchlist(ranked, capacity=1)
    assert caplog.text == ""
    (settings.data_dir / "universe.csv").write_text("symbol\nKO\nMSFT\n")

    assert list(wb.load_current_universe()) == ["KO", "PEP"]
    assert wb.fetch_current_watchlist()["symbol"].tolist() == ["PEP"]
    assert "1 added (MSFT), 1 removed (PEP)" in caplog.text
    assert "workbench universe import" in caplog.text
