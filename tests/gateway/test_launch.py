"""From what a user writes to what a gateway plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import GatewayError
from workbench.gateway.launch import open_tape
from workbench.gateway.process import GatewayProcess


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
