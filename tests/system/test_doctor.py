"""`workbench doctor` and `workbench explain` as their user has them: a process of its own, an exit code, a file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import workbench as wb
from tests.system.test_cli import OURS, workbench
from workbench.ib.codes import ROWS
from workbench.ib.doctor.report import DoctorReport


def kept(folder: Path) -> list[dict[str, object]]:
    """Return the reports in a data folder."""
    return [json.loads(line) for line in (folder / "doctor.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_embedded_gateway_is_examined_and_the_answers_are_kept(tmp_path: Path) -> None:
    first = workbench("doctor", cwd=tmp_path)
    second = workbench("doctor", "--json", cwd=tmp_path)

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    for words in ("4hour bars", "09:30, 12:00 (New York)", "checks are well"):
        assert words in first.stdout
    assert first.stderr == ""
    reports = kept(tmp_path / "data" / "demo")
    assert len(reports) == 2
    assert reports[1] == json.loads(second.stdout)
    assert {report["gateway"] for report in reports} == {"built-in gateway"}


def test_a_gateway_that_does_not_run_ends_it_with_one_and_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shown = workbench("doctor", "--gateway", f"127.0.0.1:{free.getsockname()[1]}", cwd=tmp_path)

    assert shown.returncode == 1
    assert "nobody listens" in shown.stdout
    assert "Enable ActiveX and Socket Clients" in " ".join(shown.stdout.split())
    assert shown.stderr == ""
    assert kept(tmp_path / "data")[0]["checks"][0]["answer"] == "refused"  # type: ignore[index]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process; run it by hand there")
def test_ctrl_c_ends_it_quietly_and_keeps_what_was_found(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    with socket.create_server(("127.0.0.1", 0)) as mute:
        command = [sys.executable, "-m", "workbench", "doctor", "--gateway", f"127.0.0.1:{mute.getsockname()[1]}"]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        client, _ = mute.accept()  # the doctor is at work, and waits
        client.recv(16)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        client.close()

    assert process.returncode == 130
    assert "interrupted" in out
    assert errors == ""
    assert kept(tmp_path / "data")[0]["interrupted"] is True


def test_a_notebook_gets_the_report_as_an_object(tmp_path: Path) -> None:
    with wb.open("built-in", data_dir=tmp_path) as desk:
        report = desk.doctor()
        bars = desk.ib.fetch_historical_bars("AAPL", "1 day", "1 M")  # its own connection is not disturbed

    assert isinstance(report, DoctorReport)
    assert report.is_well
    assert "1hour bars" in report._repr_html_()
    assert not bars.empty


@pytest.mark.parametrize("code", [162, 200, 321, 2104, 10197])
def test_a_code_is_explained_with_cause_and_next_step(code: int, tmp_path: Path) -> None:
    shown = workbench("explain", str(code), cwd=tmp_path)

    assert shown.returncode == 0
    said = " ".join(shown.stdout.split())
    for row in (row for row in ROWS if row.code == code):
        for part in (row.name, row.meaning, row.cause, row.next_step):
            assert part in said


def test_an_unknown_code_says_so_and_where_to_look(tmp_path: Path) -> None:
    shown = workbench("explain", "99999", cwd=tmp_path)

    assert shown.returncode == 2
    assert "no explanation of IB's code 99999" in shown.stderr
    assert "message codes" in shown.stderr


@pytest.mark.parametrize("command", ["doctor", "explain"])
def test_their_help_shows_an_example(command: str, tmp_path: Path) -> None:
    shown = workbench(command, "--help", cwd=tmp_path)

    assert f"Example: workbench {command}" in " ".join(shown.stdout.split())
