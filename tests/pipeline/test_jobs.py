"""Jobs, as settings ask for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from workbench.errors import InvalidSettings
from workbench.pipeline.jobs import DEFAULT_JOBS, to_jobs


def test_without_settings_the_day_is_that_of_the_desk() -> None:
    assert {job.name: (job.notebook, job.at) for job in to_jobs({})} == {
        "update-history": ("01-backfill-history", "06:00"),
        "screen": ("04-screen-universe", "09:00..15:00 every 1h"),
        "save-session": ("06-save-session", "16:30"),
    }


def test_a_default_job_is_changed_where_settings_say_so_and_kept_otherwise() -> None:
    [screen] = [job for job in to_jobs({"screen": {"at": "open+5m", "late": "any"}}) if job.name == "screen"]

    assert (screen.at, screen.late) == ("open+5m", None)
    assert (screen.notebook, screen.time_limit) == ("04-screen-universe", timedelta(minutes=30))


def test_a_job_of_ones_own_comes_beside_the_default_ones() -> None:
    told = {"notebook": "03-check-data", "at": "cron 0 12 * * sat", "late": "6h", "overlap": "wait", "retries": 1}

    *others, mine = to_jobs({"weekly-check": told})

    assert len(others) == len(DEFAULT_JOBS)
    assert (mine.name, mine.late, mine.overlap, mine.retries) == ("weekly-check", timedelta(hours=6), "wait", 1)


def test_a_job_that_is_not_enabled_is_no_job() -> None:
    assert "screen" not in {job.name for job in to_jobs({"screen": {"enabled": False}})}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"x": {"at": "06:00"}}, "jobs.x.notebook"),
        ({"x": {"notebook": "01"}}, "jobs.x.at"),
        ({"x": {"notebook": "01", "at": "noon"}}, "jobs.x.at: .*'noon'"),
        ({"screen": {"when": "06:00"}}, "jobs.screen.when"),
        ({"screen": {"retries": -1}}, "jobs.screen.retries"),
        ({"screen": {"late": "soon"}}, "jobs.screen.late"),
        ({"screen": {"overlap": "both"}}, "jobs.screen.overlap"),
        ({"screen": {"memory_limit_mb": 1}}, "jobs.screen.memory_limit_mb"),
        ({"Bad name!": {"notebook": "01", "at": "06:00"}}, "Bad name!"),
    ],
)
def test_what_is_no_job_is_refused_by_its_name(table: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSettings, match=told):
        to_jobs(table)
