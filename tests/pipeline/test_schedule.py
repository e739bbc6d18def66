"""What is due, what was missed, and what must wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.market.sessions import EXCHANGE_ZONE
from workbench.pipeline.jobs import Job, to_jobs
from workbench.pipeline.schedule import decide, plan


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=EXCHANGE_ZONE).astimezone(UTC)


HOURLY = Job("screen", "04", "09:00..15:00 every 1h", late=timedelta(minutes=45))
DAILY = Job("update", "01", "06:00")


def told(job: Job, since: str, now: str, *, is_running: bool = False) -> list[tuple[str, str]]:
    steps = decide(job, new_york(since), new_york(now), is_running=is_running)
    return [(f"{step.due.astimezone(EXCHANGE_ZONE):%d %H:%M}", step.action) for step in steps]


@pytest.mark.parametrize(
    ("job", "since", "now", "expected"),
    [
        (DAILY, "2026-11-23T05:00", "2026-11-23T05:59:59.999", []),
        (DAILY, "2026-11-23T05:00", "2026-11-23T06:00", [("23 06:00", "run")]),
        (DAILY, "2026-11-23T06:00", "2026-11-23T23:00", []),  # it was run: since is when it was last due
        (HOURLY, "2026-11-23T09:00", "2026-11-23T10:45", [("23 10:00", "run")]),
        (HOURLY, "2026-11-23T09:00", "2026-11-23T10:46", [("23 10:00", "missed")]),
        (HOURLY, "2026-11-23T09:00", "2026-11-23T12:10",
            [("23 10:00", "missed"), ("23 11:00", "missed"), ("23 12:00", "run")]),
        # a machine that slept over the weekend does Friday's and Monday's work once
        (DAILY, "2026-11-19T06:00", "2026-11-23T07:00", [("20 06:00", "missed"), ("23 06:00", "run")]),
        # what is older than a week is forgotten
        (DAILY, "2026-01-02T06:00", "2026-11-23T05:00",
            [(f"{day} 06:00", "missed") for day in (16, 17, 18, 19)] + [("20 06:00", "run")]),
        # the clock of the machine went back
        (DAILY, "2026-11-23T06:00", "2026-11-23T03:00", []),
    ],
)  # fmt: skip
def test_of_what_was_missed_the_last_alone_is_run_unless_it_is_too_late(
    job: Job, since: str, now: str, expected: list[tuple[str, str]]
) -> None:
    assert told(job, since, now) == expected


@pytest.mark.parametrize(("overlap", "action"), [("skip", "missed"), ("wait", "wait")])
def test_no_job_runs_beside_itself(overlap: str, action: str) -> None:
    job = Job("screen", "04", "09:00..15:00 every 1h", overlap=overlap)  # type: ignore[arg-type]

    assert told(job, "2026-11-23T09:00", "2026-11-23T10:00", is_running=True) == [("23 10:00", action)]


def test_what_may_not_be_late_may_still_start_within_the_minute() -> None:
    job = Job("screen", "04", "10:00", late=timedelta(0))

    assert told(job, "2026-11-23T09:00", "2026-11-23T10:01") == [("23 10:00", "run")]
    assert told(job, "2026-11-23T09:00", "2026-11-23T10:02") == [("23 10:00", "missed")]


@given(
    looks=st.lists(st.integers(0, 3 * 24 * 60), min_size=1, max_size=40).map(sorted),
    late=st.sampled_from([None, timedelta(0), timedelta(minutes=45)]),
)
def test_however_often_one_looks_each_time_is_decided_once(looks: list[int], late: timedelta | None) -> None:
    """The scheduler may be slow, asleep or restarted: it goes on from the last time that was decided."""
    job, begin = Job("screen", "04", "09:00..15:00 every 1h", late=late), new_york("2026-11-24T00:00")
    since, decided = begin, []
    for minutes in looks:
        steps = decide(job, since, begin + timedelta(minutes=minutes), is_running=False)
        decided += steps
        since = max([since, *(step.due for step in steps)])

    last = begin + timedelta(minutes=looks[-1], microseconds=1)
    assert [step.due for step in decided] == job.times(begin + timedelta(microseconds=1), last)
    if late is None and decided:
        assert decided[-1].action == "run"


def test_the_plan_of_two_weeks_has_the_three_jobs_of_every_session() -> None:
    due = plan(to_jobs({}), new_york("2026-11-23"), new_york("2026-12-05"))

    assert [when for when, _ in due] == sorted(when for when, _ in due)
    assert len(due) == 9 * (1 + 7 + 1)  # ten weekdays, Thanksgiving among them
    assert {job.name for _, job in due} == {"update-history", "screen", "save-session"}
