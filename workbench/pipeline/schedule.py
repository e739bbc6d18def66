"""What is due, and what to do about it: pure, the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from workbench.pipeline.jobs import Job
from workbench.pipeline.triggers import format_duration
from workbench.store.runs import LastRun

ON_TIME = timedelta(minutes=1)
LOOK_BACK = timedelta(days=7)
"""What fell due longer ago than this is forgotten."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do about a time at which a job was due: run it, let it wait, or note why it did not run."""

    due: datetime
    action: Literal["run", "wait", "missed"]
    reason: str = ""


def plan(jobs: Iterable[Job], begin: datetime, end: datetime) -> list[tuple[datetime, Job]]:
    """Return what is due in `[begin, end)`, in order."""
    return sorted(((due, job) for job in jobs for due in job.times(begin, end)), key=lambda one: (one[0], one[1].name))


def decide(job: Job, since: datetime, now: datetime, *, is_running: bool, on_time: timedelta = ON_TIME) -> list[Step]:
    """Return what to do about each time after `since`, up to now, at which the job was due.

    Of several that were missed (the machine slept, the scheduler was down) the last one alone is run: the job's work is
    done once, as of now, and not as often as it was missed. A run that starts within `on_time` is not late.
    """
    instant = timedelta(microseconds=1)
    due = job.times(max(since, now - LOOK_BACK) + instant, now + instant)
    if not due:
        return []
    steps = [Step(one, "missed", "nothing ran at the time, and the job was due again since") for one in due[:-1]]
    last, lateness = due[-1], now - due[-1]
    if job.late is not None and lateness > max(job.late, on_time):
        return [
            *steps,
            Step(last, "missed", f"{format_duration(lateness)} late; {format_duration(job.late)} are allowed"),
        ]
    if is_running:
        return [*steps, Step(last, "wait" if job.overlap == "wait" else "missed", "its last run was still under way")]
    return [*steps, Step(last, "run")]


def retry_at(job: Job, last: LastRun) -> datetime | None:
    """Return from when on a run that did not succeed may be tried again: the wait doubles with each attempt."""
    if last.outcome not in ("failed", "lost", "stopped") or last.ended is None or last.attempt > job.retries:
        return None
    return last.ended + job.retry_wait * (1 << (last.attempt - 1))


def next_due(jobs: Iterable[Job], now: datetime) -> list[tuple[datetime, str]]:
    """Return when each job is due next, the first one first, of those that are due within ten days."""
    instant, horizon = timedelta(microseconds=1), timedelta(days=10)
    coming = ((job.times(now + instant, now + horizon), job.name) for job in jobs)
    return sorted((times[0], name) for times, name in coming if times)
