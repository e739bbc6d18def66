"""The jobs: a notebook, its parameters and when it is due, from `workbench.toml`.

[jobs.screen]                          # one of the three that are there by default, changed
at = "open+5m, 10:00..15:00 every 30m"
parameters = { universe = "tech" }

[jobs.weekly-check]                    # one of your own
notebook = "03-check-data"
at = "cron 0 12 * * sat"
time_limit = "20m"
retries = 1
late = "6h"                            # how late it may start: "any" (the default), "0s", "2h"
overlap = "wait"                       # when its last run still goes on: "skip" (the default) or "wait"

[jobs.save-session]
enabled = false
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from workbench.errors import InvalidSettings
from workbench.pipeline.triggers import parse_duration, parse_trigger

DEFAULT_JOBS: Mapping[str, Mapping[str, Any]] = {
    "update-history": {
        "notebook": "01-backfill-history",
        "at": "06:00",
        "parameters": {"symbols": [], "progress": False},  # the whole universe
        "time_limit": "3h",
        "retries": 2,
    },
    "screen": {
        "notebook": "04-screen-universe",
        "at": "09:00..15:00 every 1h",
        "parameters": {"update": True},
        "time_limit": "30m",
        "late": "45m",
    },
    "save-session": {
        "notebook": "06-save-session",
        "at": "16:30",
        "parameters": {"progress": False},
        "time_limit": "2h",
        "retries": 2,
    },
}
"""What the desk's day is made of, until `workbench.toml` says otherwise."""
_NAME = r"[a-z0-9][a-z0-9-]{0,63}"


@dataclass(frozen=True, slots=True)
class Job:
    """A notebook, its parameters, and when it is due.

    `late` is how late it may still start (None: as late as may be); `overlap` what becomes of a time at which the
    job's last run goes on: it is left out, or it waits.
    """

    name: str
    notebook: str
    at: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    time_limit: timedelta | None = None
    memory_limit_mb: int | None = None
    retries: int = 0
    retry_wait: timedelta = timedelta(minutes=1)
    late: timedelta | None = None
    overlap: Literal["skip", "wait"] = "skip"

    def times(self, begin: datetime, end: datetime) -> list[datetime]:
        """Return when the job is due in `[begin, end)`, in UTC."""
        return parse_trigger(self.at)(begin, end)


def _to_duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_to_duration)]


class JobSettings(BaseModel):
    """A job as `workbench.toml` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notebook: str
    at: str
    enabled: bool = True
    parameters: dict[str, Any] = Field(default_factory=dict)
    time_limit: Duration | None = None
    memory_limit_mb: int | None = Field(default=None, ge=64)
    retries: int = Field(default=0, ge=0, le=20)
    retry_wait: Duration = timedelta(minutes=1)
    late: Duration | Literal["any"] = "any"
    overlap: Literal["skip", "wait"] = "skip"

    @field_validator("at")
    @classmethod
    def _is_a_trigger(cls, text: str) -> str:
        parse_trigger(text)
        return text


def to_jobs(tables: Mapping[str, Mapping[str, Any]]) -> list[Job]:
    """Return the jobs that settings ask for, the default ones among them. Raises `InvalidSettings` with each fault."""
    jobs: list[Job] = []
    faults: list[str] = []
    for name in dict.fromkeys([*DEFAULT_JOBS, *tables]):
        if not re.fullmatch(_NAME, name):
            faults.append(f"jobs.{name}: a name has small letters, digits and -, 64 at most")
            continue
        try:
            told = JobSettings.model_validate({**DEFAULT_JOBS.get(name, {}), **tables.get(name, {})})
        except ValidationError as error:
            faults += [f"jobs.{name}.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            continue
        values = told.model_dump(exclude={"enabled"})
        values["late"] = None if told.late == "any" else told.late
        jobs += [Job(name=name, **values)] if told.enabled else []
    if faults:
        raise InvalidSettings("; ".join(faults))
    return jobs
