"""What goes wrong under the scheduler leaves a true record and whole notebooks, and the next job runs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from tests.ib.conftest import at
from tests.pipeline.scheduling import (
    day,
    environment,
    scheduler,
    toml,
    wait_for,
    whole_notebooks,
    workbench,
    write_notebook,
)

FILL = """
try:
    with open("papermill_runs/ballast", "wb", buffering=0) as file:
        while True:
            file.write(b"0" * 512)
except OSError:
    pass
"""


def good(name: str, trigger: str, more: str = "") -> str:
    """Return a job whose notebook does its work."""
    return f'[jobs.{name}]\nnotebook = "01-good"\nat = "{trigger}"\n{more}\n'


def sqlite(folder: Path) -> str:
    """Return the URL of the database that commands in this folder take."""
    return f"sqlite:///{folder / 'data' / 'trading.db'}"


@pytest.mark.timeout(300)
def test_runs_that_fail_and_a_clock_that_jumps_leave_a_true_record_and_the_next_job_runs(tmp_path: Path) -> None:
    """A cell that raises, a kernel that is killed, limits of time and memory; three hours slept through; Ctrl-C."""
    write_notebook(tmp_path / "notebooks", "01-good", "import workbench as wb\nwb.record('top', top)")
    write_notebook(tmp_path / "notebooks", "02-raises", "1 / 0")
    write_notebook(tmp_path / "notebooks", "03-killed", "import os\nos.kill(os.getpid(), 9)")
    write_notebook(
        tmp_path / "notebooks",
        "04-sleeps",
        "from pathlib import Path\nPath('asleep').touch()",
        "import time\ntime.sleep(600)",
    )
    (tmp_path / "workbench.toml").write_text(
        toml(
            [
                '[jobs.raises]\nnotebook = "02"\nat = "10:00"\n',
                '[jobs.killed]\nnotebook = "03"\nat = "10:00"\n',
                '[jobs.slow]\nnotebook = "04"\nat = "10:00"\ntime_limit = "3s"\n',
                '[jobs.greedy]\nnotebook = "04"\nat = "10:00"\nmemory_limit_mb = 64\n',
                good("next", "10:10"),
                good("hourly", "10:30..15:30 every 1h", 'late = "45m"'),
                '[jobs.endless]\nnotebook = "04"\nat = "13:40"\n',
            ]
        )
    )
    with day("2026-11-20T09:58:00", sqlite(tmp_path)) as market, scheduler(tmp_path, market.port) as process:
        market.pass_by("2026-11-20T10:00", "2026-11-20T10:10")
        market.control.jump(at("2026-11-20T13:31"))
        wait_for(lambda: ("hourly", "succeeded") in market.rows("job", "outcome"))
        (tmp_path / "asleep").unlink(missing_ok=True)
        market.control.jump(at("2026-11-20T13:40"))
        wait_for((tmp_path / "asleep").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0

        failed = {row["job"]: row for row in market.runs.load(outcomes=["failed"]).to_dict("records")}
        assert (failed["raises"]["failed_cell"], failed["raises"]["error"]) == (
            'in cell In [2], "1 / 0"',
            "ZeroDivisionError: division by zero",
        )
        assert failed["killed"]["failed_cell"] == 'in cell In [2], "import os"'
        assert "the kernel died" in failed["killed"]["error"]
        assert failed["slow"]["error"] == "the run took longer than 3 s"
        assert failed["greedy"]["error"] == "the run took more than 64 MB of memory"
        assert sorted(market.rows("job", "due", "outcome")) == [
            ("endless", "11-20 13:40", "stopped"),
            ("greedy", "11-20 10:00", "failed"),
            ("hourly", "11-20 10:30", "missed"),
            ("hourly", "11-20 11:30", "missed"),
            ("hourly", "11-20 12:30", "missed"),
            ("hourly", "11-20 13:30", "succeeded"),
            ("killed", "11-20 10:00", "failed"),
            ("next", "11-20 10:10", "succeeded"),
            ("raises", "11-20 10:00", "failed"),
            ("slow", "11-20 10:00", "failed"),
        ]
        kept = {Path(path).name for (path,) in market.rows("output_path") if isinstance(path, str)}
        assert set(whole_notebooks(tmp_path / "papermill_runs")) == kept
        assert len(kept) == 7

    checked = workbench(tmp_path, "status", "--check", WORKBENCH_IB__PORT=market.port)
    assert checked.returncode == 1
    assert {line.split(" failed;")[0] for line in checked.stdout.splitlines()} == {"raises", "killed", "slow", "greedy"}


@pytest.mark.timeout(300)
def test_a_scheduler_that_is_killed_in_the_middle_of_a_job_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    first_time = "from pathlib import Path\nfresh = not Path('begun').exists()\nPath('begun').touch()"
    write_notebook(tmp_path / "notebooks", "01-good", "1")
    write_notebook(tmp_path / "notebooks", "02-long", first_time, "import time\ntime.sleep(600 if fresh else 0)")
    again = 'retries = 1\nretry_wait = "1m"'
    (tmp_path / "workbench.toml").write_text(
        toml([f'[jobs.long]\nnotebook = "02"\nat = "10:00"\n{again}\n', good("next", "10:10")])
    )
    with day("2026-11-20T09:59:50", sqlite(tmp_path)) as market:
        with scheduler(tmp_path, market.port) as process:
            market.control.resume()
            wait_for((tmp_path / "begun").exists)
            process.kill()
        with scheduler(tmp_path, market.port, log="again.log") as process:
            market.pass_by("2026-11-20T10:10")
            wait_for(lambda: len(market.rows("job")) == 3 and not market.runs.load(outcomes=["running"]).size)
            process.terminate()
            assert process.wait(60) == 0

        assert market.rows("job", "due", "attempt", "outcome") == [
            ("long", "11-20 10:00", 1, "lost"),
            ("long", "11-20 10:00", 2, "succeeded"),
            ("next", "11-20 10:10", 1, "succeeded"),
        ]
        kept = [Path(path) for (path,) in market.rows("output_path")]
    assert sorted(whole_notebooks(tmp_path / "papermill_runs")) == sorted(path.name for path in kept)
    assert "the program that started the run has ended" in kept[0].read_text()


@pytest.mark.timeout(300)
def test_of_two_schedulers_on_one_database_one_runs_each_job(tmp_path: Path, database_url: str) -> None:
    write_notebook(tmp_path / "notebooks", "01-good", "1")
    times = "10:00, 10:05"
    (tmp_path / "workbench.toml").write_text(toml([good("first", times), good("second", times)]))
    moments = [f"2026-11-20T{clock}" for clock in times.split(", ")]
    with (
        day("2026-11-20T09:58:00", database_url) as market,
        scheduler(tmp_path, market.port, log="a.log", DATABASE_URL=database_url) as one,
        scheduler(tmp_path, market.port, log="b.log", DATABASE_URL=database_url, WORKBENCH_IB__CLIENT_ID=7) as other,
    ):
        market.pass_by(*moments)
        for process in (one, other):
            process.terminate()
        assert (one.wait(60), other.wait(60)) == (0, 0)

        assert Counter(market.rows("job", "due", "outcome")) == Counter(
            (job, f"11-20 {clock}", "succeeded") for job in ("first", "second") for clock in times.split(", ")
        )
        assert len(whole_notebooks(tmp_path / "papermill_runs")) == 4


def test_a_full_disk_fails_the_run_that_fills_it_and_not_the_next(tmp_path: Path) -> None:
    """The executed notebooks lie on a disk of four megabytes, of the two commands' own."""
    write_notebook(tmp_path / "notebooks", "01-good", "1")
    write_notebook(tmp_path / "notebooks", "02-talks", "print('before')", "print('a' * 9_000_000)", "1")
    write_notebook(tmp_path / "notebooks", "03-fills", "print('before')", FILL, "1")
    jobs = [f'[jobs.{name}]\nnotebook = "{name}"\nat = "10:00"\n' for name in ("talks", "fills")]
    (tmp_path / "workbench.toml").write_text(toml([*jobs, good("next", "10:00")]))
    runs = tmp_path / "papermill_runs"
    runs.mkdir()
    command = f"{sys.executable} -m workbench run --job"
    listed = "find papermill_runs -name '*s-*.ipynb' -exec cp {} kept/ ';'; find papermill_runs -type f -name '*-*'"
    mount = "mount -t tmpfs -o size=4m none papermill_runs || exit 9; mkdir kept"
    script = f"{mount}; {command} talks; {command} next; {command} fills; {listed}"
    if not shutil.which("unshare"):
        pytest.skip("no disk can be mounted here: needs Linux and user namespaces (unshare --map-root-user --mount)")

    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip

    if done.returncode == 9:
        pytest.skip("no disk can be mounted here: needs Linux and user namespaces (unshare --map-root-user --mount)")
    assert "talks, run 1: failed" in done.stdout, done.stderr
    assert "next, run 2: succeeded" in done.stdout, done.stderr
    assert "fills, run 3: failed" in done.stdout, done.stderr
    left = sorted(Path(line).name for line in done.stdout.splitlines() if line.startswith("papermill_runs/"))
    assert [name.rpartition("-")[0] for name in left] == ["fills", "next", "next", "talks", "talks"]
    kept = list((tmp_path / "kept").iterdir())
    assert len(kept) == 2
    for path in kept:
        nbformat.validate(notebook := nbformat.read(path, as_version=4))
        assert "before" in str(notebook.cells)
    talked, filled = (workbench(tmp_path, "runs", number).stdout for number in ("1", "3"))
    assert "No space left on device" in talked
    assert 'in cell In [3], "print(' in talked
    assert "No space left on device" in filled
    assert "when the notebook was written" in filled
