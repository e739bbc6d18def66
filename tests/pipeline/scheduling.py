"""The scheduler as a process of its own, on the clock of a gateway of the test's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat

from tests.ib.conftest import at
from tests.ib.live_process import OURS
from workbench.gateway.clock import GatewayClock
from workbench.gateway.control import GatewayControl
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.store.database import DatabaseManager
from workbench.store.runs import JobRuns

SPEED = 10.0
PATIENCE_S = 240.0
NO_OTHERS = "".join(f"[jobs.{name}]\nenabled = false\n" for name in ("update-history", "screen", "save-session"))


def write_notebook(folder: Path, name: str, *sources: str) -> None:
    """Write a notebook of one parameter and these cells."""
    cells = [nbformat.v4.new_code_cell("top: int = 5", metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """Return the environment of a command that works in a folder, without the settings of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    ours = {"WORKBENCH_DATA_DIR": folder / "data", **settings}
    return inherited | {name: str(value) for name, value in ours.items()}


def workbench(folder: Path, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=folder,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@contextmanager
def scheduler(
    folder: Path, port: int, *, log: str = "schedule.log", **settings: object
) -> Iterator[subprocess.Popen[str]]:
    """Run `workbench schedule` as a user does, from when it looks for what is due; at the end it is killed, if it runs.

    An error of the block's is given a note of what the scheduler told.
    """
    told = folder / log
    chosen = {"WORKBENCH_IB__PORT": port, "WORKBENCH_IB__GATEWAY_SPEED": SPEED} | settings
    with told.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "schedule"],
            cwd=folder, env=environment(folder, **chosen), stdout=file, stderr=file, text=True,
        )  # fmt: skip
    try:
        wait_for(lambda: "jobs; Ctrl-C" in told.read_text() or process.poll() is not None)
        assert process.poll() is None
        yield process
    except BaseException as error:
        error.add_note(told.read_text())
        raise
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@dataclass(frozen=True)
class Day:
    """A gateway whose clock the test sets, and the record of what ran."""

    port: int
    clock: GatewayClock
    control: GatewayControl
    runs: JobRuns

    def now(self) -> datetime:
        """Return the gateway's time."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def pass_by(self, *moments: str) -> None:
        """Let these moments of New York's clock come, one after the other, each when nothing runs any more."""
        for moment in moments:
            due = datetime.fromisoformat(moment).replace(tzinfo=EXCHANGE_ZONE).astimezone(UTC)
            self.control.jump((due - timedelta(seconds=1)).timestamp())
            self.control.resume()
            wait_for(lambda due=due: self.is_done(due))

    def is_done(self, due: datetime) -> bool:
        """Return whether what was due at that moment has ended, with whatever else ran."""
        found = self.runs.load(since=due)
        return len(found) > 0 and "running" not in set(self.runs.load()["outcome"])

    def rows(self, *fields: str) -> list[tuple[Any, ...]]:
        """Return these fields of what is recorded, in order; times as New York's clock shows them."""
        return [tuple(_shown(row[field]) for field in fields) for row in self.runs.load().to_dict("records")[::-1]]


def _shown(value: Any) -> Any:
    return f"{value.astimezone(EXCHANGE_ZONE):%m-%d %H:%M}" if isinstance(value, datetime) else value


@contextmanager
def day(start: str, database_url: str) -> Iterator[Day]:
    """Open a gateway at a moment in New York's time; its clock stands; resumed, it goes at ten times our speed."""
    tape, clock = SimulatedTape(1, start=int(at(start))), GatewayClock(at(start), SPEED)
    with running(tape, clock, control=True) as gateway, DatabaseManager(database_url) as database:
        assert gateway.control is not None
        control = GatewayControl(gateway.host, gateway.control.port, gateway.control.token)
        control.pause()
        yield Day(gateway.port, clock, control, JobRuns(database))


def whole_notebooks(folder: Path) -> list[str]:
    """Return the executed notebooks in a folder; each is valid and has its page, and nothing else is there."""
    found = sorted(folder.rglob("*.ipynb"))
    for path in found:
        nbformat.validate(nbformat.read(path, as_version=4))
    everything = sorted(path for path in folder.rglob("*") if path.is_file())
    assert everything == sorted([*found, *(path.with_suffix(".html") for path in found)])
    return [path.name for path in found]


def toml(jobs: Sequence[str]) -> str:
    """Return settings with these jobs alone."""
    return NO_OTHERS + "\n".join(jobs)
