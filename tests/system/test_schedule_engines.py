"""The files that `workbench schedule --print` gives for other engines run as they are: systemd's, cron's, Prefect's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.triggers.cron import CronTrigger

from tests.pipeline.scheduling import environment, wait_for, workbench, write_notebook
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.pipeline.jobs import to_jobs
from workbench.store.database import DatabaseManager
from workbench.store.runs import JobRuns

PREFECT = Path(__file__).parents[2] / ".venv-clients" / "prefect" / "bin" / "python"
DRIVE = """
import workbench_flows as flows
for one in flows.deployments():
    print("deployed", one.name, *((each.schedule.cron, each.schedule.timezone) for each in one.schedules))
print("ended", flows.run_job("screen", return_state=True).type.name)
print("ended", flows.run_job.with_options(retries=0)("save-session", return_state=True).type.name)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose jobs are the usual ones, with notebooks that do nothing, or fail."""
    write_notebook(tmp_path / "notebooks", "01-nothing", "1")
    write_notebook(tmp_path / "notebooks", "02-fails", "raise ValueError('no')")
    jobs = {"update-history": "01", "screen": "01", "save-session": "02"}
    (tmp_path / "workbench.toml").write_text(
        "".join(f'[jobs.{name}]\nnotebook = "{number}"\nparameters = {{}}\n' for name, number in jobs.items())
    )
    return tmp_path


def printed(folder: Path, engine: str) -> str:
    """Return the file for an engine."""
    shown = workbench(folder, "schedule", "--print", engine)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def recorded(folder: Path) -> list[tuple[str, str]]:
    """Return the jobs that ran, and how they ended."""
    with DatabaseManager(f"sqlite:///{folder / 'data' / 'demo' / 'trading.db'}") as database:
        rows = JobRuns(database).load().to_dict("records")
    return [(row["job"], row["outcome"]) for row in rows[::-1]]


def test_systemd_takes_the_service_and_ends_what_it_starts_in_good_order(folder: Path) -> None:
    unit = folder / "workbench.service"
    unit.write_text(printed(folder, "systemd"))
    told = dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match(r"\w+=", line))
    if shutil.which("systemd-analyze"):
        command = ["systemd-analyze", "verify", "--user", str(unit)]
        checked = subprocess.run(
            command, env=os.environ | {"XDG_RUNTIME_DIR": str(folder)}, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")

    log = folder / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            shlex.split(told["ExecStart"]),
            cwd=told["WorkingDirectory"],
            env=environment(folder),
            stdout=file,
            stderr=file,
        ) as process,
    ):
        try:
            wait_for(lambda: "3 jobs; Ctrl-C" in log.read_text() or process.poll() is not None)
            process.send_signal(signal.SIGTERM)  # KillMode=mixed: to the main process alone
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()


def test_cron_runs_the_usual_jobs_at_their_times_by_commands_that_need_no_more_than_it_gives(folder: Path) -> None:
    lines = [line for line in printed(folder, "cron").splitlines() if line and not line.startswith("#")]
    entries = [line.split(maxsplit=5) for line in lines[1:]]
    begin = datetime(2026, 11, 20, tzinfo=EXCHANGE_ZONE)  # an ordinary Friday

    assert lines[0] == "CRON_TZ=America/New_York"
    due = {}
    for *fields, command in entries:
        trigger, moment = CronTrigger.from_crontab(" ".join(fields), timezone=EXCHANGE_ZONE), begin
        times = due.setdefault(command.split()[-1], [])
        while (moment := trigger.get_next_fire_time(None, moment)) < begin + timedelta(days=1):
            times.append(moment.astimezone(UTC))
            moment += timedelta(seconds=1)
    assert due == {job.name: job.times(begin, begin + timedelta(days=1)) for job in to_jobs({})}

    bare = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "SHELL": "/bin/sh"}
    codes = [
        subprocess.run(["/bin/sh", "-c", command], cwd="/", env=bare, capture_output=True, check=False).returncode
        for *_, command in entries[1:]
    ]
    assert codes == [0, 1]
    assert recorded(folder) == [("screen", "succeeded"), ("save-session", "failed")]


@pytest.mark.timeout(300)
def test_prefect_runs_the_jobs_and_sees_which_fail(folder: Path) -> None:
    if not PREFECT.exists():
        reason = "no Prefect here; make clients installs it in an environment of its own"
        (pytest.fail if os.environ.get("WORKBENCH_REQUIRE_CLIENTS") else pytest.skip)(reason)
    (folder / "workbench_flows.py").write_text(printed(folder, "prefect"))
    alone = {"HOME": folder, "PREFECT_HOME": folder, "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true"}
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}

    done = subprocess.run(
        [PREFECT, "-c", DRIVE], cwd=folder, env=environment(folder, **alone, **quiet), capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith(("deployed", "ended"))] == [
        "deployed update-history ('0 6 * * 1-5', 'America/New_York')",
        "deployed screen ('0 9-15 * * 1-5', 'America/New_York')",
        "deployed save-session ('30 16 * * 1-5', 'America/New_York')",
        "ended COMPLETED",
        "ended FAILED",
    ], done.stderr
    assert recorded(folder) == [("screen", "succeeded"), ("save-session", "failed")]


def test_an_engine_that_is_not_known_is_refused_with_those_that_are(folder: Path) -> None:
    shown = workbench(folder, "schedule", "--print", "airflow")

    assert shown.returncode == 2
    assert "there are cron, prefect, systemd" in shown.stderr
