"""The commands of the scheduler as their user has them: what they print, and how they end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.scheduling import environment, toml, wait_for, whole_notebooks, workbench, write_notebook

SHORT_WEEK = """\
Wed 2026-11-25  09:30 to 16:00
  06:00 New York  11:00 UTC  update-history  01-backfill-history
  16:30 New York  21:30 UTC  late            03-check-data
Fri 2026-11-27  09:30 to 13:00, a short session
  06:00 New York  11:00 UTC  update-history  01-backfill-history
  13:30 New York  18:30 UTC  late            03-check-data
Sat 2026-11-28  no session
  12:00 New York  17:00 UTC  late            03-check-data
5 runs on 3 days
"""


def test_what_would_run_is_printed_by_day_with_its_session(tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").write_text(
        "[jobs.screen]\nenabled = false\n[jobs.save-session]\nenabled = false\n"
        '[jobs.late]\nnotebook = "03-check-data"\nat = "close+30m, cron 0 12 * * sat"\n'
    )

    shown = workbench(tmp_path, "schedule", "--simulate", "2026-11-25..2026-11-28")

    assert (shown.returncode, shown.stdout) == (0, SHORT_WEEK)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "say which notebook"),
        (("run", "01", "--job", "mine"), "say which notebook"),
        (("run", "--job", "nothing"), "no job is called nothing; there are mine"),
        (("run", "--job", "mine", "-p", "top=3"), "--job takes no other option"),
        (("runs", "7"), "there is no run 7"),
        (("runs", "--outcome", "good"), "'good' is no outcome"),
        (("schedule", "--simulate", "2026-11-25..soon"), "are no days"),
        (("schedule", "--simulate", "2026-11-25.."), "are no days"),
        (("schedule", "--simulate", "2026-11-25..2026-11-24"), "lies before the first"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    write_notebook(tmp_path / "notebooks", "01-mine", "1")
    (tmp_path / "workbench.toml").write_text(toml(['[jobs.mine]\nnotebook = "01"\nat = "06:00"\n']))

    shown = workbench(tmp_path, *arguments)

    assert said in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr
    assert shown.returncode == 2


def test_a_job_that_is_told_to_stop_ends_in_good_order_and_its_run_can_be_opened(tmp_path: Path) -> None:
    write_notebook(
        tmp_path / "notebooks",
        "01-long",
        "from pathlib import Path\nPath('begun').touch()",
        "import time\ntime.sleep(600)",
    )
    (tmp_path / "workbench.toml").write_text(toml(['[jobs.long]\nnotebook = "01"\nat = "06:00"\n']))
    with subprocess.Popen(
        [sys.executable, "-m", "workbench", "run", "--job", "long"],
        cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_for(lambda: (tmp_path / "begun").exists() or process.poll() is not None)
        refused = workbench(tmp_path, "run", "--job", "long")
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)

    opened = workbench(tmp_path, "runs", "1", "--open", BROWSER="/bin/echo %s")
    [executed] = (tmp_path / "papermill_runs").rglob("*.ipynb")
    assert process.returncode == 128 + signal.SIGTERM
    assert told == f"long, run 1: stopped, {executed}\n"
    assert (refused.returncode, "long runs already" in refused.stderr) == (1, True)
    assert whole_notebooks(tmp_path / "papermill_runs") == [executed.name]
    assert "the run was told to stop" in opened.stdout
    assert executed.with_suffix(".html").as_uri() in opened.stdout
    assert opened.returncode == 1
