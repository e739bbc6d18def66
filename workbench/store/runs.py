"""The record of the scheduler's runs: what ran, when, how it ended; and the claim by which no job runs twice.

Before a run is started its row is there, as `running`. Two constraints of the table make that row a claim: of a job one
row runs at a time, and of each time at which it was due there is one row an attempt. Whoever cannot insert the row does
not run the job, be it on this machine or on another that shares the database.

A scheduler that is alive says so every few seconds (`renew`). A row that runs on and whose scheduler is gone, or
has not been heard of for a minute, is `lost`: nobody knows how far it came.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import pandas as pd
from sqlalchemy import ColumnElement, RowMapping, delete, func, select, update

from workbench import html
from workbench.store.database import DatabaseManager
from workbench.store.engine import insert_into
from workbench.store.holders import Holder
from workbench.store.rows import to_frame
from workbench.store.tables import job_runs

Outcome = Literal["running", "succeeded", "failed", "stopped", "lost", "missed"]

LEASE = timedelta(seconds=60)
"""For how long a scheduler that is not heard of is taken to live; in real time, whatever the clock of its jobs."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is to run: one attempt at a job, due at a moment of a session."""

    job: str
    due: datetime
    session: date
    attempt: int = 1
    notebook: str = ""
    notebook_version: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest row of a job, and whether that or an earlier one is under way."""

    job: str
    due: datetime
    attempt: int
    outcome: Outcome
    ended: datetime | None
    is_running: bool


class JobRuns:
    """The runs that a database records, for one scheduler or for whoever reads them."""

    def __init__(self, database: DatabaseManager) -> None:
        self._database = database

    def __repr__(self) -> str:
        return f"JobRuns({self._database!r})"

    def _repr_html_(self) -> str:
        names = ["id", "job", "due", "attempt", "outcome", "error"]
        newest = self.load(limit=20)[names]
        marks: dict[str, html.State] = {"failed": "bad", "lost": "bad", "missed": "look", "succeeded": "good"}
        table = html.rows(names, newest.itertuples(index=False), marks=marks)
        return html.card("The newest runs" if table else "No runs yet", table, html.note("due: UTC") if table else "")

    def claim(self, claim: Claim, holder: Holder, now: datetime) -> int | None:
        """Record that the run begins and return its id; None where another scheduler has it, or the job still runs."""
        values = {
            **_values(claim),
            "started": now,
            "outcome": "running",
            "holder": holder.name,
            "machine": holder.machine,
            "pid": holder.pid,
            "process_started": holder.started,
            "alive_until": _real_now() + LEASE,
        }
        with self._database.transaction() as connection:
            statement = (
                insert_into(job_runs, connection).values(values).on_conflict_do_nothing().returning(job_runs.c.id)
            )
            return connection.execute(statement).scalar()

    def miss(self, claim: Claim, reason: str, now: datetime) -> None:
        """Record that the job did not run at a time at which it was due, and why."""
        values = {**_values(claim), "started": None, "ended": now, "outcome": "missed", "error": reason}
        self._database.run(
            lambda connection: connection.execute(
                insert_into(job_runs, connection).values(values).on_conflict_do_nothing()
            )
        )

    def renew(self, ids: Collection[int]) -> set[int]:
        """Say that the scheduler of these runs is alive; return those that were not recorded as lost."""
        mine = job_runs.c.id.in_(ids) & (job_runs.c.outcome == "running")
        statement = update(job_runs).where(mine).values(alive_until=_real_now() + LEASE).returning(job_runs.c.id)
        return self._database.run(lambda connection: set(connection.execute(statement).scalars()))

    def place(self, run_id: int, output_path: str) -> None:
        """Record where the executed notebook will be, so that a run that is lost can be looked into."""
        self._change(run_id, {"output_path": output_path})

    def end(
        self,
        run_id: int,
        outcome: Outcome,
        now: datetime,
        *,
        failed_cell: str | None = None,
        error: str | None = None,
        output_path: str | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how a run ended, unless it was recorded as lost meanwhile."""
        values = {
            "outcome": outcome,
            "ended": now,
            "failed_cell": failed_cell,
            "error": error,
            "figures": dict(figures or {}),
        }
        self._change(run_id, values | ({"output_path": output_path} if output_path else {}))

    def _change(self, run_id: int, values: Mapping[str, Any]) -> None:
        mine = (job_runs.c.id == run_id) & (job_runs.c.outcome == "running")
        self._database.run(lambda connection: connection.execute(update(job_runs).where(mine).values(**values)))

    def end_lost(self, now: datetime) -> list[str]:
        """Record as lost the runs whose scheduler is gone; return their jobs."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(job_runs).where(job_runs.c.outcome == "running")).mappings().all()
            lost = [row for row in rows if _is_lost(row)]
            for row in lost:
                text = f"{row['holder']}, which ran it, has ended or is not heard of any more"
                values = {"outcome": "lost", "ended": max(now, row["started"]), "error": text}
                connection.execute(update(job_runs).where(job_runs.c.id == row["id"]).values(values))
        return [str(row["job"]) for row in lost]

    def last(self) -> dict[str, LastRun]:
        """Return the newest row of each job (the last time at which it was due, the last attempt), and what runs."""
        table = job_runs
        newest = select(table.c.job, func.max(table.c.due).label("due")).group_by(table.c.job).subquery()
        query = (
            select(table)
            .join(newest, table.c.job == newest.c.job)
            .where((table.c.due == newest.c.due) | (table.c.outcome == "running"))
            .order_by(table.c.due, table.c.attempt)
        )
        rows = self._database.run(lambda connection: connection.execute(query).mappings().all(), reading=True)
        running = {row["job"] for row in rows if row["outcome"] == "running"}
        return {row["job"]: _last_run(row, is_running=row["job"] in running) for row in rows}

    def load(
        self,
        *,
        run_id: int | None = None,
        job: str = "",
        outcomes: Collection[Outcome] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return runs, the newest first; those that were due in `since <= due < until`."""
        wanted: list[ColumnElement[bool]] = [job_runs.c.job == job] if job else []
        wanted += [job_runs.c.id == run_id] if run_id is not None else []
        wanted += [job_runs.c.outcome.in_(outcomes)] if outcomes else []
        wanted += [job_runs.c.due >= since] if since else []
        wanted += [job_runs.c.due < until] if until else []
        query = select(job_runs).where(*wanted).order_by(job_runs.c.due.desc(), job_runs.c.id.desc()).limit(limit)
        return self._database.run(
            lambda connection: to_frame(connection.execute(query).mappings(), job_runs.columns), reading=True
        )

    def forget(self, before: datetime) -> list[str]:
        """Remove the record of runs that were due before a moment; return where their notebooks are."""
        old = (job_runs.c.due < before) & (job_runs.c.outcome != "running")
        statement = delete(job_runs).where(old).returning(job_runs.c.output_path)
        paths = self._database.run(lambda connection: list(connection.execute(statement).scalars()))
        return [path for path in paths if path]


def _last_run(row: RowMapping, *, is_running: bool) -> LastRun:
    return LastRun(row["job"], row["due"], row["attempt"], row["outcome"], row["ended"], is_running)


def _values(claim: Claim) -> dict[str, Any]:
    return {
        "job": claim.job,
        "due": claim.due,
        "session": claim.session,
        "attempt": claim.attempt,
        "notebook": claim.notebook,
        "notebook_version": claim.notebook_version,
        "parameters": dict(claim.parameters),
        "figures": {},
    }


def _is_lost(row: RowMapping) -> bool:
    holder = Holder(row["holder"], row["machine"], row["pid"], row["process_started"])
    return holder.is_gone() or row["alive_until"] < _real_now()


def _real_now() -> datetime:
    return datetime.now(UTC)
