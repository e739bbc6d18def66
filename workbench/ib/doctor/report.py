"""What the doctor found: for people, for notebooks, and as a line of JSON that is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench import html
from workbench.ib.doctor.checks import Check, State

_LASTING = ("server version", "time zone", "read-only", "15min bars", "1hour bars", "4hour bars", "volume unit")
"""Answers that depend on the gateway and its settings, not on the hour."""
_MARKS: Mapping[str, html.State] = {
    State.OK.value: "good",
    State.LOOK.value: "look",
    State.PROBLEM.value: "bad",
}


@dataclass(frozen=True, slots=True, repr=False)
class DoctorReport:
    """What the doctor found at a gateway, and when."""

    gateway: str
    asked_at: datetime
    checks: tuple[Check, ...]
    interrupted: bool = False
    changes: tuple[str, ...] = ()
    """What this gateway answered otherwise when it was last examined, in words."""

    @property
    def is_well(self) -> bool:
        """Whether no check found a problem."""
        return not self.interrupted and all(check.state is not State.PROBLEM for check in self.checks)

    @property
    def answers(self) -> dict[str, str]:
        """What was found out, in a word each, by check."""
        return {check.name: check.answer for check in self.checks if check.answer}

    def to_json(self) -> str:
        """Return the report on one line of JSON."""
        rows = [asdict(check) | {"state": check.state.value} for check in self.checks]
        return json.dumps(
            {
                "gateway": self.gateway,
                "asked_at": self.asked_at.isoformat(),
                "interrupted": self.interrupted,
                "checks": rows,
                "changes": self.changes,
            },
            ensure_ascii=False,
        )

    def kept(self, path: Path) -> DoctorReport:
        """Append the report to a file of such lines, and return it with what has changed since the gateway's last one.

        It is on the disk when this returns.
        """
        told = replace(self, changes=_changes(_last(path, self.gateway), self))
        path.parent.mkdir(parents=True, exist_ok=True)
        is_cut = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * is_cut + told.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        return told

    def summary(self) -> str:
        """Return how many checks came to what, in a sentence."""
        count = {state: sum(check.state is state for check in self.checks) for state in State}
        told = [f"{count[State.OK]} of {len(self.checks)} checks are well"]
        told += [f"{count[State.PROBLEM]} found a problem"] if count[State.PROBLEM] else []
        told += [f"{count[State.LOOK]} want a look"] if count[State.LOOK] else []
        told += [f"{count[State.UNKNOWN]} could not be made now"] if count[State.UNKNOWN] else []
        return ", ".join(told) + ("; interrupted" if self.interrupted else "")

    def __repr__(self) -> str:
        lines = [f"{one.state.value:<13} {one.name}: {one.found}" + _remedy(one) for one in self.checks]
        head = f"{self.gateway}, {self.asked_at:%Y-%m-%d %H:%M} UTC"
        return "\n".join([head, *lines, self.summary(), *self.changes])

    def _repr_html_(self) -> str:
        head = f"{self.gateway}, {self.asked_at:%Y-%m-%d %H:%M} UTC: {self.summary()}"
        rows = [(one.state.value, one.name, one.found, one.remedy) for one in self.checks]
        checks = html.rows(("", "check", "found", "what to do"), rows, marks=_MARKS)
        changes = [html.note(change, state="look") for change in self.changes]
        return html.card(head, *changes, checks, state="good" if self.is_well else "bad")


def _remedy(check: Check) -> str:
    return f"\n{'':<14}→ {check.remedy}" if check.remedy else ""


def _last(path: Path, gateway: str) -> dict[str, Any]:
    """Return the last report on a gateway in a file of them; nothing where there is none that can be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return next((told for line in reversed(lines) if (told := _parsed(line)).get("gateway") == gateway), {})


def _parsed(line: str) -> dict[str, Any]:
    """Return a report, or nothing where a line was cut off."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _changes(last: dict[str, Any], report: DoctorReport) -> tuple[str, ...]:
    """Return which lasting answers differ from the last ones; what is not known now or was not then does not."""
    before = {check["name"]: _lasting(check["name"], check["answer"]) for check in last.get("checks", ())}
    return tuple(
        f"changed since {last['asked_at'][:10]}: {name} was {before[name]}, is {now}"
        for name, answer in report.answers.items()
        if name in _LASTING and (now := _lasting(name, answer)) != before.get(name, now) and before[name]
    )


def _lasting(name: str, answer: str) -> str:
    """Return an answer without what depends on the hour: live volumes are known in a session only."""
    return answer.removeprefix("history ").split(",")[0] if name == "volume unit" else answer
