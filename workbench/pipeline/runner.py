"""One run of one job: what it is, how it goes, and the record that tells it as it was.

The record is never left to say `running` by an error of ours: whatever happens in between, the run's row is ended, and
where the database is away it is ended when that is back, for as long as the scheduler lives.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from workbench.errors import (
    InvalidParameters,
    InvalidSettings,
    NotebookError,
    RunFailed,
    UnknownNotebook,
    WorkbenchError,
)
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.pipeline.jobs import Job
from workbench.pipeline.notebooks import (
    Limits,
    RunResult,
    check_parameters,
    find_notebook,
    read_parameters,
    run_notebook,
)
from workbench.pipeline.recorder import RecorderKeeper
from workbench.pipeline.secrets import redact
from workbench.store.runs import Claim, JobRuns, Outcome

logger = logging.getLogger(__name__)

_AGAIN_S = 5.0
"""After how long the end of a run is recorded again that could not be recorded."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the jobs work: their notebooks, where executed ones go, the clock, and whom failures are told to."""

    notebooks: Path
    output: Path
    now: Callable[[], datetime]
    tell: Callable[[str, str], None]
    secrets: Sequence[str] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    keep: timedelta = timedelta(days=90)
    speed: float = 1.0
    recorder: RecorderKeeper | None = None
    health: Path | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, as its row has it."""

    outcome: Outcome
    failed_cell: str | None = None
    error: str | None = None
    output_path: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)


class JobRunner:
    """Runs jobs at a desk, each with its row in the table of runs."""

    def __init__(self, runs: JobRuns, desk: Desk) -> None:
        self._runs, self._desk = runs, desk

    def check(self, jobs: Iterable[Job]) -> None:
        """Raise `InvalidSettings`, with each job whose notebook or parameters cannot be used."""
        faults = []
        for job in jobs:
            try:
                path = find_notebook(job.notebook, self._desk.notebooks)
                check_parameters(read_parameters(path), self._parameters(job, path))
            except (UnknownNotebook, InvalidParameters, NotebookError) as error:
                faults.append(f"jobs.{job.name}: {error}")
        if faults:
            raise InvalidSettings("\n".join(faults))

    def claim(self, job: Job, due: datetime, attempt: int = 1) -> Claim:
        """Return what is to be run, as the row has it: with the notebook's version and its parameters."""
        session = due.astimezone(EXCHANGE_ZONE).date()
        try:
            path = find_notebook(job.notebook, self._desk.notebooks)
            version, parameters = hashlib.sha256(path.read_bytes()).hexdigest()[:12], self._parameters(job, path)
        except (WorkbenchError, OSError):  # the run itself will say so
            version, parameters = "", dict(job.parameters)
        return Claim(job.name, due, session, attempt, job.notebook, version, parameters)

    def run(self, job: Job, claim: Claim, run_id: int, stopping: threading.Event) -> None:
        """Run a job that was claimed, to its end or until `stopping` is set; record and tell how it ended."""
        ending = self._ending(job, claim, run_id, stopping)
        self._record(run_id, ending, stopping)
        if ending.outcome != "failed":
            logger.info("%s %s", job.name, ending.outcome)
            return
        logger.error("%s failed %s: %s", job.name, ending.failed_cell or "", ending.error)
        where = "\n".join(filter(None, (ending.failed_cell, ending.error, ending.output_path)))
        self._desk.tell(f"{job.name} failed", where)

    def _ending(self, job: Job, claim: Claim, run_id: int, stopping: threading.Event) -> Ending:
        limit = job.time_limit.total_seconds() if job.time_limit else None
        try:
            result = self._execute(job, claim, run_id, Limits(limit, job.memory_limit_mb, stopping))
        except RunFailed as error:
            outcome: Outcome = "stopped" if stopping.is_set() else "failed"
            return Ending(outcome, error.place, error.error, str(error.output.resolve()), error.figures)
        except Exception as error:
            if not isinstance(error, WorkbenchError | OSError):
                logger.exception("%s met something unforeseen", job.name)
            return Ending("failed", error=redact(f"{type(error).__name__}: {error}", self._desk.secrets))
        return Ending("succeeded", output_path=str(result.output.resolve()), figures=result.figures)

    def _execute(self, job: Job, claim: Claim, run_id: int, limits: Limits) -> RunResult:
        return run_notebook(
            find_notebook(job.notebook, self._desk.notebooks),
            claim.parameters,
            self._desk.output,
            name=job.name,
            started=self._desk.now().astimezone(EXCHANGE_ZONE),
            session=claim.session,
            limits=limits,
            secrets=self._desk.secrets,
            on_output=lambda path: self._runs.place(run_id, str(path.resolve())),
        )

    def _record(self, run_id: int, ending: Ending, stopping: threading.Event) -> None:
        """Record the end, and again until it is recorded: the database may be away, or its disk full."""
        while True:
            try:
                self._runs.end(
                    run_id,
                    ending.outcome,
                    self._desk.now(),
                    failed_cell=ending.failed_cell,
                    error=ending.error,
                    output_path=ending.output_path,
                    figures=ending.figures,
                )
            except WorkbenchError as error:
                logger.error("the end of run %d could not be recorded: %s", run_id, error)
                if stopping.wait(_AGAIN_S):
                    return  # nobody lives who could; the next scheduler finds the row, and calls the run lost
            else:
                return

    def _parameters(self, job: Job, path: Path) -> dict[str, Any]:
        """Return the job's own parameters, and those of the desk that the notebook has."""
        declared = {parameter.name for parameter in read_parameters(path)}
        common = {name: value for name, value in self._desk.parameters.items() if name in declared}
        return {**common, **job.parameters}
