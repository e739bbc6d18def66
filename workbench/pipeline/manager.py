"""The scheduler: looks every second at what is due, runs it, and leaves a true record.

It keeps no state of its own. What was due, what ran and what failed is in the table of runs, so that a scheduler that
was killed, or whose machine slept, goes on from there; and the row of a run is the claim to it, so that of two
schedulers on one database one runs each job. `schedule.decide` says what to do, pure; here it is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from workbench import html
from workbench.errors import InvalidInput, WorkbenchError
from workbench.pipeline.health import PipelineStatus, clock_text, write_health
from workbench.pipeline.jobs import Job
from workbench.pipeline.runner import Desk, JobRunner
from workbench.pipeline.schedule import ON_TIME, decide, next_due, retry_at
from workbench.store.holders import this_process
from workbench.store.runs import Claim, JobRuns, LastRun

__all__ = ["DataPipelineManager", "Desk"]

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_RENEW_S = 10.0


@dataclass(frozen=True, slots=True)
class _Worker:
    """A run of ours, and how to end it."""

    thread: threading.Thread
    stopping: threading.Event


class DataPipelineManager:
    """Runs the desk's jobs when they are due, in the background: `start`, then `stop`.

    Any number may work on one database. Times are those of `desk.now`; a gateway that plays faster than real time may
    be followed by naming its `speed`.
    """

    def __init__(self, jobs: Sequence[Job], runs: JobRuns, desk: Desk) -> None:
        self.jobs, self.runs, self._desk = tuple(jobs), runs, desk
        self._runner = JobRunner(runs, desk)
        self._holder = this_process()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._workers: dict[int, _Worker] = {}
        self._began = desk.now()
        self._renewed = self._cleared = self._told = 0.0

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"DataPipelineManager({', '.join(job.name for job in self.jobs) or 'no jobs'}; {state})"

    def _repr_html_(self) -> str:
        jobs = html.rows(("job", "notebook", "at"), [(job.name, job.notebook, job.at) for job in self.jobs])
        steps = [("desk.pipeline.start()", "runs them when they are due"), ("desk.runs", "what ran")]
        if self.is_running:
            return html.card("Scheduler, running", jobs, html.steps(steps), state="good")
        return html.card("Scheduler, stopped", jobs, html.steps(steps))

    @property
    def is_running(self) -> bool:
        """Whether it looks for what is due."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to look for what is due. Raises `InvalidSettings` when a job names no notebook or a wrong parameter."""
        if self.is_running:
            return
        self._runner.check(self.jobs)
        self._stopping.clear()
        self._began = self._desk.now()
        self._thread = threading.Thread(target=self._look_on, name="pipeline", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End: runs under way are ended in good order, their notebooks kept, their record true."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def status(self) -> PipelineStatus:
        """Return what runs, what comes next and what failed last."""
        now, last = self._desk.now(), self.runs.last()
        known = {job.name for job in self.jobs}
        return PipelineStatus(
            now,
            tuple(name for name, run in last.items() if run.is_running),
            tuple(next_due(self.jobs, now)[:3]),
            tuple(name for name, run in last.items() if run.outcome in ("failed", "lost") and name in known),
            recording=self._desk.recorder is not None and self._desk.recorder.is_running,
        )

    # -- the look

    def _look_on(self) -> None:
        pause = max(0.05, _LOOK_S / self._desk.speed)
        while not self._stopping.wait(pause):
            self._guarded(self.look)
            self._guarded(self._tell_health)
        if self._desk.recorder is not None:
            self._desk.recorder.stop()
        for worker in self._workers.values():
            worker.stopping.set()
        for worker in self._workers.values():
            worker.thread.join()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it; what fails, as while the database is away, is told and done again at the next look."""
        try:
            work()
        except WorkbenchError as error:
            logger.error("%s", error)
        except Exception:
            logger.exception("the scheduler met something unforeseen, and goes on")

    def look(self) -> None:
        """Look once: end the record of what was lost, start what is due, say that we live."""
        now = self._desk.now()
        self._renew()
        for name in self.runs.end_lost(now):
            self._tell(f"{name} was lost", "the scheduler that ran it has ended")
        last = self.runs.last()
        for job in self.jobs:
            self._consider(job, last.get(job.name), now)
        self._clear(now)
        if self._desk.recorder is not None and (told := self._desk.recorder.look(now)):
            self._tell("the recorder of live bars died", told)

    def _tell(self, title: str, text: str) -> None:
        logger.error("%s: %s", title, text)
        self._desk.tell(title, text)

    def _tell_health(self) -> None:
        """Write, every few seconds, what monitoring reads: that we live, and what fails."""
        if self._desk.health is None or time.monotonic() - self._told < _RENEW_S:
            return
        self._told = time.monotonic()
        write_health(self._desk.health, self.status(), self._holder)

    def _consider(self, job: Job, last: LastRun | None, now: datetime) -> None:
        since, is_running = (last.due, last.is_running) if last else (self._began, False)
        steps = decide(job, since, now, is_running=is_running, on_time=max(ON_TIME, self._slack()))
        for step in steps:
            if step.action == "missed":
                logger.warning("%s did not run at %s: %s", job.name, clock_text(step.due, now), step.reason)
                self.runs.miss(self._runner.claim(job, step.due), step.reason, now)
            elif step.action == "run":
                self._start(job, self._runner.claim(job, step.due), now)
        if (
            not steps
            and last is not None
            and not is_running
            and (due := retry_at(job, last)) is not None
            and due <= now
        ):
            self._start(job, self._runner.claim(job, last.due, last.attempt + 1), now)

    def _slack(self) -> timedelta:
        """Return how far the clock of the jobs goes between two looks, and somewhat more."""
        return timedelta(seconds=3 * _LOOK_S * self._desk.speed)

    def _renew(self) -> None:
        self._workers = {run_id: worker for run_id, worker in self._workers.items() if worker.thread.is_alive()}
        if not self._workers or time.monotonic() - self._renewed < _RENEW_S:
            return
        ours = self.runs.renew(list(self._workers))
        self._renewed = time.monotonic()
        for run_id in self._workers.keys() - ours:  # the database was away for so long that another may run it now
            self._workers[run_id].stopping.set()

    def _clear(self, now: datetime) -> None:
        """Once an hour, forget runs that are too old, with what they left."""
        if time.monotonic() - self._cleared < 3600 and self._cleared:
            return
        self._cleared = time.monotonic()
        for output in map(Path, self.runs.forget(now - self._desk.keep)):
            if output.resolve().is_relative_to(self._desk.output.resolve()):
                for file in (output, output.with_suffix(".html")):
                    file.unlink(missing_ok=True)

    # -- a run

    def run_now(self, name: str, stopping: threading.Event) -> int | None:
        """Run a job now and return the number of its run; None when it runs already. For another engine than ours.

        Returns when the run has ended, by itself or because `stopping` was set. Raises `InvalidInput` for a name that
        no job has, `InvalidSettings` when its notebook or parameters cannot be used.
        """
        job = next((job for job in self.jobs if job.name == name), None)
        if job is None:
            raise InvalidInput(f"no job is called {name}; there are {', '.join(job.name for job in self.jobs)}")
        self._runner.check([job])
        now = self._desk.now()
        self.runs.end_lost(now)
        run_id = self._start(job, self._runner.claim(job, now), now, stopping)
        if run_id is None:
            return None
        thread = self._workers[run_id].thread
        while thread.is_alive():
            thread.join(_LOOK_S)
            self._guarded(self._renew)
        return run_id

    def _start(self, job: Job, claim: Claim, now: datetime, stopping: threading.Event | None = None) -> int | None:
        run_id = self.runs.claim(claim, self._holder, now)
        if run_id is None:
            return None  # another scheduler has it
        again = f", attempt {claim.attempt}" if claim.attempt > 1 else ""
        logger.info("%s begins, due %s%s", job.name, clock_text(claim.due, now), again)
        stopping = stopping or threading.Event()
        work = partial(self._runner.run, job, claim, run_id, stopping)
        worker = _Worker(threading.Thread(target=self._guarded, args=(work,), daemon=True), stopping)
        self._workers[run_id] = worker
        worker.thread.start()
        return run_id
