"""From what a user writes to what a gateway plays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.errors import GatewayError
from workbench.gateway.launch import open_tape
from workbench.gateway.process import GatewayProcess, replay


def test_the_account_names_what_was_done_to_the_tape(tmp_path: Path) -> None:
    splits = tmp_path / "splits.csv"
    splits.write_text("symbol,date,ratio\nAAPL,2026-11-20,4\n")

    names = [
        open_tape("simulated", seed=3, start=1.8e9).account,
        open_tape("simulated", seed=3, start=1.8e9, splits=splits).account,
        open_tape("simulated", seed=3, start=1.8e9, splits=splits, revise=0.01).account,
    ]

    assert names == ["SIMULATED-3-R1", "SIMULATED-3-R1-SPLIT", "SIMULATED-3-R1-SPLIT-REVISED"]


def test_splits_that_befall_nothing_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = tmp_path / "splits.csv"
    splits.write_text("symbol,date,ratio\nAAPL,2026-11-20,4\nAPPL,2026-11-20,4\n")

    open_tape("simulated", seed=3, start=1.8e9, splits=splits)

    assert [it.getMessage().partition(": ")[2] for it in caplog.records] == [
        "the tape simulated has no APPL; their splits change nothing"
    ]


def test_a_rate_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GatewayError, match="revised"):
        open_tape("simulated", seed=1, start=1.8e9, revise=3.0)


def test_the_command_line_takes_splits_and_revisions(tmp_path: Path) -> None:
    splits = tmp_path / "splits.csv"
    splits.write_text("symbol,date,ratio\nAAPL,2026-11-20,many\n")

    with pytest.raises(GatewayError, match="line 2"):
        GatewayProcess(["--splits", str(splits), "--revise", "0.01"])


def test_what_is_wrong_with_a_replayed_folder_reaches_whoever_replays_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ACME").mkdir()
    day = pa.array([datetime(2026, 11, 20, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    bars = {"timestamp": day} | {name: [10.0] for name in ("open", "high", "low", "close", "volume")}
    pq.write_table(pa.table(bars), tmp_path / "ACME" / "1day.parquet")

    replay(str(tmp_path), start="2026-11-20T09:30").close()

    assert "built-in gateway: no 5sec bars of ACME: their real-time bars and ticks are refused" in caplog.messages


def test_a_replay_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"holds no <SYMBOL>/<timeframe>\.parquet"):
        replay(str(tmp_path), start="2026-11-20T09:30")
