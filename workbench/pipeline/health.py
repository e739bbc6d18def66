"""How the scheduler does: for its status line, and in a file for whoever watches over it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from workbench import html
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.pipeline.output import rewrite
from workbench.store.holders import Holder

HEALTH_FILE = "pipeline-health.json"
STALE = timedelta(seconds=60)
"""A scheduler that has not written for so long is not at work."""


@dataclass(frozen=True, slots=True)
class PipelineStatus:
    """What the scheduler does at a moment of its clock: what runs, what comes next, what failed last."""

    now: datetime
    running: tuple[str, ...]
    next: tuple[tuple[datetime, str], ...]
    failing: tuple[str, ...]
    recording: bool = False

    def _repr_html_(self) -> str:
        return html.card(str(self), state="bad" if self.failing else "plain")

    def __str__(self) -> str:
        coming = ", ".join(f"{job} {clock_text(due, self.now)}" for due, job in self.next) or "nothing"
        parts = [
            f"{self.now.astimezone(EXCHANGE_ZONE):%a %H:%M:%S} New York"
        ]  # what a narrow terminal cuts off comes last
        parts += [f"FAILED: {', '.join(self.failing)}"] if self.failing else []
        parts += [f"running: {', '.join(self.running)}"] if self.running else []
        parts += ["recording live bars"] if self.recording else []
        return " · ".join([*parts, f"next: {coming}"])


def write_health(path: Path, status: PipelineStatus, holder: Holder) -> None:
    """Replace the file: when it was written (in real time), by whom, what runs, comes next and failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": holder.name,
        "clock": status.now.isoformat(timespec="seconds"),
        "running": status.running,
        "next": [{"due": due.isoformat(timespec="seconds"), "job": job} for due, job in status.next],
        "failing": status.failing,
        "recording": status.recording,
    }
    rewrite(path, json.dumps(told, indent=1) + "\n")


def read_troubles(path: Path, now: datetime) -> list[str]:
    """Return what is wrong with the scheduler that writes this file; nothing when all is well."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        written = datetime.fromisoformat(told["written"])
        failing = [str(job) for job in told["failing"]]
    except FileNotFoundError:
        return ["no scheduler has run here; start it with workbench schedule"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{path} cannot be read: {error}"]
    troubles = [f"{job} failed; workbench runs --job {job} says why" for job in failing]
    if now - written > STALE:
        troubles.insert(0, f"the scheduler ({told.get('by')}) was last heard of at {written:%Y-%m-%d %H:%M:%S} UTC")
    return troubles


def clock_text(moment: datetime, now: datetime) -> str:
    """Return a moment as New York's clock shows it, with its day when it is another one."""
    local, today = moment.astimezone(EXCHANGE_ZONE), now.astimezone(EXCHANGE_ZONE)
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%a %H:%M}"
