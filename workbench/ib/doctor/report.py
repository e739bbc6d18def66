"""What the doctor found: for people, for notebooks, and as a line of JSON that is kept."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from workbench.ib.doctor.checks import Check, State


@dataclass(frozen=True, slots=True, repr=False)
class DoctorReport:
    """What the doctor found at a gateway, and when."""

    gateway: str
    asked_at: datetime
    checks: tuple[Check, ...]
    interrupted: bool = False

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
            },
            ensure_ascii=False,
        )

    def save(self, path: Path) -> None:
        """Append the report to a file of such lines, on the disk when this returns."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(self.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

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
        return "\n".join([f"{self.gateway}, {self.asked_at:%Y-%m-%d %H:%M} UTC", *lines, self.summary()])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{one.state.value}</td><td>{escape(one.name)}</td>"
            f"<td style='text-align:left'>{escape(one.found)}<br><i>{escape(one.remedy)}</i></td></tr>"
            for one in self.checks
        )
        head = f"{escape(self.gateway)}, {self.asked_at:%Y-%m-%d %H:%M} UTC"
        return f"<table><caption>{head}: {escape(self.summary())}</caption>{rows}</table>"


def _remedy(check: Check) -> str:
    return f"\n{'':<14}→ {check.remedy}" if check.remedy else ""
