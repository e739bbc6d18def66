"""The command line as its user has it: in a process of its own, in an empty folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from workbench.store.historical import HistoricalDataManager

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
OURS = ("WORKBENCH_", "DATABASE_URL")


def workbench(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, without the settings of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    chosen = {"WORKBENCH_NOTEBOOKS_DIR": str(NOTEBOOKS), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=cwd,
        env=inherited | chosen | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("command", ["demo", "gateway", "backfill", "run", "status"])
def test_the_help_of_every_command_shows_an_example(command: str, tmp_path: Path) -> None:
    shown = workbench(command, "--help", cwd=tmp_path)

    assert shown.returncode == 0
    assert f"Example: workbench {command}" in " ".join(shown.stdout.split())


def test_help_loads_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    code = (
        "import sys; from workbench import cli; sys.argv = ['workbench', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'numpy', 'sqlalchemy', 'exchange_calendars', 'matplotlib', 'papermill', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )

    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert shown.returncode == 0, shown.stderr


def test_status_before_anything_is_stored_says_how_to_begin(tmp_path: Path) -> None:
    shown = workbench("status", cwd=tmp_path)

    assert shown.returncode == 0
    assert "built-in gateway" in shown.stdout
    assert "workbench demo" in shown.stdout


def test_a_backfill_stores_bars_and_status_shows_them(tmp_path: Path) -> None:
    done = workbench("backfill", "AAPL", "-t", "1day", "--since", "2026-01-02", "--until", "2026-11-01", cwd=tmp_path)
    shown = workbench("status", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, "209 bars added to 1 series by 1 requests\n")
    assert "AAPL" in shown.stdout
    assert "built-in gateway (SIMULATED-1-R1)" in shown.stdout
    assert len(HistoricalDataManager(tmp_path / "data" / "demo" / "historical").load_bars("AAPL", "1day")) == 209


def test_a_dry_run_shows_the_forecast_and_stores_nothing(tmp_path: Path) -> None:
    bounds = ("--since", "2026-01-02", "--until", "2026-11-01")

    shown = workbench("backfill", "AAPL", "-t", "1day", "-t", "15min", *bounds, "--dry-run", cwd=tmp_path)

    assert "to fetch: 3 requests, about 5,687 bars" in shown.stderr
    assert "Nothing is stored yet" in workbench("status", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("backfill", "NOPE", "-t", "1day"), 1, "No security definition has been found"),
        (("backfill", "AAPL", "-t", "15mins"), 2, "did you mean 15min?"),
        (("backfill", "../evil", "-t", "1day"), 2, "'../evil' is no symbol"),
        (("backfill", "AAPL", "--since", "2026-02-01", "--until", "2026-01-01"), 2, "does not lie after the begin"),
        (("backfill", "AAPL", "--since", "yesterday"), 2, "'yesterday' is no date"),
        (("run", "01-backfill-history", "-p", "symbol=AAPL"), 2, "did you mean symbols?"),
        (("run", "01-backfill-history", "-p", "symbols"), 2, "not NAME=VALUE"),
        (("run", "99-nothing"), 2, "no notebook 99-nothing"),
        (("gateway", "--tape", "no-such-folder"), 1, "no-such-folder"),
        (("gateway", "--start", "noon"), 1, "'noon' is no time"),
        (("gateway", "--speed", "0"), 1, "speed 0"),
        (("status", "--nonsense"), 2, "No such option"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    shown = workbench(*arguments, cwd=tmp_path)

    assert said in " ".join((shown.stdout + shown.stderr).split())
    assert "Traceback" not in shown.stderr
    assert shown.returncode == code


def test_a_gateway_that_does_not_run_is_named_with_what_to_check(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    shown = workbench("backfill", "AAPL", "--gateway", f"127.0.0.1:{port}", cwd=tmp_path)

    assert shown.returncode == 1
    assert f"nobody answers at host 127.0.0.1, port {port}" in shown.stderr
    assert "Check that TWS or IB Gateway runs" in shown.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ib]\nprot = 7497\n", "ib.prot"),
        ("[ib]\nport = 99999\n", "ib.port"),
        ("data_dir = [\n", "workbench.toml cannot be read"),
        ("colour = 'red'\n", "colour"),
    ],
)
def test_a_malformed_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "workbench.toml").write_text(text)

    shown = workbench("status", cwd=tmp_path)

    assert shown.returncode == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


def test_the_environment_overrules_the_file_and_no_password_is_shown(tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").write_text('data_dir = "from-file"\n')

    shown = workbench("status", cwd=tmp_path, WORKBENCH_DATA_DIR="from-env", WORKBENCH_IB__PORT="4001")
    secret = workbench("status", cwd=tmp_path, DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/none")

    assert "data from-env" in " ".join(shown.stdout.split())
    assert "127.0.0.1:4001" in shown.stdout
    assert secret.returncode == 1
    assert "hunter2" not in secret.stdout + secret.stderr


def test_a_failing_cell_fails_the_run_and_keeps_the_notebook(tmp_path: Path) -> None:
    shown = workbench("run", "02-explore-indicators", "-p", "symbol=MSFT", cwd=tmp_path)

    (executed,) = (tmp_path / "papermill_runs").rglob("*.ipynb")
    assert shown.returncode == 1
    assert "no 15min bars of MSFT are stored: run 01-backfill-history first" in shown.stderr
    assert str(executed.relative_to(tmp_path)) in shown.stderr
    errors = [out for cell in nbformat.read(executed, 4).cells for out in cell.get("outputs", []) if "ename" in out]
    assert [error["ename"] for error in errors] == ["AssertionError"]


def test_the_demo_stores_everything_and_a_second_one_nothing_new(tmp_path: Path) -> None:
    first = workbench("demo", cwd=tmp_path)
    store = HistoricalDataManager(tmp_path / "data" / "demo" / "historical")
    stored = {(one.symbol, one.timeframe): one.bars for one in store.series()}
    second = workbench("demo", cwd=tmp_path)

    assert first.returncode == 0, first.stderr
    assert len({symbol for symbol, _ in stored}) >= 10
    for timeframe in ("15min", "1hour", "4hour", "1day"):
        assert {symbol for symbol, name in stored if name == timeframe} == {symbol for symbol, _ in stored}
    for timeframe in ("1min", "5min"):
        assert len([name for _, name in stored if name == timeframe]) == 2
    assert min(stored.values()) > 500
    executed = sorted((tmp_path / "papermill_runs").rglob("*.ipynb"))
    assert all(str(path.relative_to(tmp_path)) in first.stdout + second.stdout for path in executed)

    assert second.returncode == 0, second.stderr
    assert len(executed) == 4
    assert "0 bars are new" in _text_of(next(path for path in reversed(executed) if path.name.startswith("01")))
    assert {(one.symbol, one.timeframe): one.bars for one in store.series()} == stored
    assert "image/png" in executed[-1].read_text()


def _text_of(notebook: Path) -> str:
    cells = nbformat.read(notebook, 4).cells
    return "".join(out.get("text", "") for cell in cells for out in cell.get("outputs", []))
