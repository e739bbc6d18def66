"""The scheduler: it runs what is due once, and what it records is true, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workbench.errors import InvalidInput, InvalidSettings, RunFailed, StoreError
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.pipeline import runner
from workbench.pipeline.jobs import Job
from workbench.pipeline.manager import DataPipelineManager, Desk
from workbench.pipeline.notebooks import Limits, RunResult
from workbench.store.database import DatabaseManager
from workbench.store.holders import Holder
from workbench.store.runs import Claim, JobRuns

HOURLY = Job("screen", "04-screen", "09:00..15:00 every 1h", late=timedelta(minutes=45))
DAILY = Job("update", "01-update", "06:00", retries=2, retry_wait=timedelta(minutes=10))


class Clock:
    """A clock that stands until it is set, in New York."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self.moment = datetime.fromisoformat(text).replace(tzinfo=EXCHANGE_ZONE).astimezone(UTC)

    def __call__(self) -> datetime:
        return self.moment


class Scheduler(DataPipelineManager):
    """One whose notebooks are replaced by a function: how runs end is tested with real ones in test_notebooks."""

    def __init__(self, jobs: Sequence[Job], runs: JobRuns, desk: Desk) -> None:
        super().__init__(jobs, runs, desk)
        self.work: Callable[[Job, Claim, Limits], RunResult] = lambda job, claim, limits: RunResult(
            Path("x.ipynb"), 1, 0.1, {"bars": 7}
        )
        self._runner._execute = lambda job, claim, run_id, limits: self.work(job, claim, limits)  # type: ignore[method-assign]

    def look_and_wait(self) -> None:
        """Look once, and wait until what was started has ended."""
        self.look()
        for worker in self._workers.values():
            worker.thread.join(10)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DatabaseManager]:
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as opened:
        yield opened


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    for name in ("01-update", "04-screen"):
        cell = nbformat.v4.new_code_cell("top: int = 5", metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    told: list[tuple[str, str]] = []
    return Desk(tmp_path, tmp_path / "runs", Clock("2026-11-23T05:00"), lambda *words: told.append(words))


@pytest.fixture
def make(database: DatabaseManager, desk: Desk) -> Callable[..., Scheduler]:
    return lambda *jobs: Scheduler(jobs, JobRuns(database), desk)


def record(manager: DataPipelineManager) -> list[tuple[str, str, str, int]]:
    """Return job, due, outcome and attempt of all that is recorded, in order."""
    rows = manager.runs.load().to_dict("records")[::-1]
    return [
        (row["job"], f"{row['due'].astimezone(EXCHANGE_ZONE):%d %H:%M}", row["outcome"], row["attempt"]) for row in rows
    ]


def fail(*_: Any) -> RunResult:
    raise RunFailed("no", output=Path("x.ipynb"), place="in cell In [2]", error="ValueError: no", figures={"bars": 1})


def test_a_day_runs_every_job_once_at_its_time(make: Callable[..., Scheduler], desk: Desk) -> None:
    manager = make(HOURLY, DAILY)

    for minutes in range(0, 12 * 60, 7):  # from five in the morning on
        desk.now.moment = datetime(2026, 11, 23, 10, tzinfo=UTC) + timedelta(minutes=minutes)  # type: ignore[attr-defined]
        manager.look_and_wait()

    assert record(manager) == [
        ("update", "23 06:00", "succeeded", 1),
        *[("screen", f"23 {hour:02d}:00", "succeeded", 1) for hour in range(9, 16)],
    ]
    row = manager.runs.load(job="update").iloc[0]
    assert row["figures"] == {"bars": 7}
    assert len(row["notebook_version"]) == 12


def test_what_was_due_before_the_first_start_is_not_made_up_for(make: Callable[..., Scheduler], desk: Desk) -> None:
    desk.now.set("2026-11-23T12:30")  # type: ignore[attr-defined]
    manager = make(HOURLY, DAILY)

    manager.look_and_wait()

    assert record(manager) == []


def test_one_that_was_killed_or_asleep_goes_on_where_the_record_ends(
    make: Callable[..., Scheduler], desk: Desk
) -> None:
    desk.now.set("2026-11-23T08:00")  # type: ignore[attr-defined]
    first = make(HOURLY)
    desk.now.set("2026-11-23T09:00")  # type: ignore[attr-defined]
    first.look_and_wait()

    desk.now.set("2026-11-23T12:10")  # type: ignore[attr-defined]
    second = make(HOURLY)
    second.look_and_wait()

    assert [(due, outcome) for _, due, outcome, _ in record(second)] == [
        ("23 09:00", "succeeded"),
        ("23 10:00", "missed"),
        ("23 11:00", "missed"),
        ("23 12:00", "succeeded"),
    ]


@pytest.mark.parametrize("hours", [3, -3])
def test_a_clock_that_jumps_runs_nothing_twice(make: Callable[..., Scheduler], desk: Desk, hours: int) -> None:
    desk.now.set("2026-11-23T08:00")  # type: ignore[attr-defined]
    manager = make(HOURLY)
    for text in ("09:00", "10:00", f"{10 + hours:02d}:05", "10:10", "11:00", "12:00", "13:20", "14:00"):
        desk.now.set(f"2026-11-23T{text}")  # type: ignore[attr-defined]
        manager.look_and_wait()

    ran = [due for _, due, outcome, _ in record(manager) if outcome == "succeeded"]

    assert ran == sorted(set(ran))
    assert [due for _, due, _, _ in record(manager)] == [f"23 {hour:02d}:00" for hour in range(9, 15)]


def test_a_failure_is_told_recorded_and_tried_again_with_longer_waits(
    make: Callable[..., Scheduler], database: DatabaseManager, desk: Desk
) -> None:
    told: list[str] = []
    manager = Scheduler([DAILY], JobRuns(database), replace(desk, tell=lambda title, text: told.append(title + text)))
    manager.work = fail
    seen = {}
    for minutes in range(60, 200, 5):
        desk.now.moment = datetime(2026, 11, 23, 10, minutes % 60, tzinfo=UTC) + timedelta(hours=minutes // 60)  # type: ignore[attr-defined]
        manager.look_and_wait()
        seen[minutes] = len(record(manager))

    assert record(manager) == [("update", "23 06:00", "failed", attempt) for attempt in (1, 2, 3)]
    assert (seen[60], seen[65], seen[70], seen[85], seen[90], seen[195]) == (1, 1, 2, 2, 3, 3)
    assert len(told) == 3
    assert "update failed" in told[0]
    assert "ValueError: no" in told[0]
    row = manager.runs.load(job="update").iloc[0]
    assert (row["failed_cell"], row["error"], row["figures"]) == ("in cell In [2]", "ValueError: no", {"bars": 1})
    assert manager.status().failing == ("update",)


def test_the_run_of_a_scheduler_that_is_gone_is_lost_told_and_tried_again(
    make: Callable[..., Scheduler], desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.now.set("2026-11-23T06:00")  # type: ignore[attr-defined]
    manager = make(DAILY)
    claim = Claim("update", desk.now(), desk.now().date())
    gone = Holder("process 1 on elsewhere", manager._holder.machine, 2**22 + 1, "0")
    assert manager.runs.claim(claim, gone, desk.now()) is not None

    manager.look_and_wait()
    desk.now.set("2026-11-23T06:11")  # type: ignore[attr-defined]
    manager.look_and_wait()

    assert record(manager) == [("update", "23 06:00", "lost", 1), ("update", "23 06:00", "succeeded", 2)]
    assert "update was lost" in caplog.text


@pytest.mark.parametrize(
    ("overlap", "after"), [("skip", ["succeeded", "missed"]), ("wait", ["succeeded", "succeeded"])]
)
def test_a_job_that_still_runs_is_not_started_beside_itself(
    make: Callable[..., Scheduler], desk: Desk, overlap: str, after: list[str]
) -> None:
    going, begun = threading.Event(), threading.Event()
    desk.now.set("2026-11-23T08:00")  # type: ignore[attr-defined]
    manager = make(replace(HOURLY, overlap=overlap))  # type: ignore[arg-type]

    def wait(*_: Any) -> RunResult:
        begun.set()
        assert going.wait(10)
        return RunResult(Path("x.ipynb"), 1, 0.1)

    manager.work = wait
    desk.now.set("2026-11-23T09:00")  # type: ignore[attr-defined]
    manager.look()
    assert begun.wait(10)
    desk.now.set("2026-11-23T10:00")  # type: ignore[attr-defined]
    manager.look()
    assert manager.status().running == ("screen",)
    going.set()
    manager.look_and_wait()
    manager.look_and_wait()

    assert [outcome for _, _, outcome, _ in record(manager)] == after


def test_two_schedulers_on_one_database_run_each_job_once(make: Callable[..., Scheduler], desk: Desk) -> None:
    desk.now.set("2026-11-23T08:00")  # type: ignore[attr-defined]
    managers = [make(HOURLY, DAILY) for _ in range(2)]
    ran: list[tuple[str, datetime]] = []

    def note(job: Job, claim: Claim, limits: Limits) -> RunResult:
        ran.append((job.name, claim.due))
        return RunResult(Path("x.ipynb"), 1, 0.1)

    for manager in managers:
        manager.work = note
    for hour in range(9, 16):
        desk.now.set(f"2026-11-23T{hour:02d}:00")  # type: ignore[attr-defined]
        threads = [threading.Thread(target=manager.look_and_wait) for manager in managers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(ran) == len(set(ran)) == 7


def test_stopping_ends_what_runs_and_says_so(make: Callable[..., Scheduler], desk: Desk) -> None:
    begun = threading.Event()

    def wait_for_the_end(job: Job, claim: Claim, limits: Limits) -> RunResult:
        begun.set()
        assert limits.stopping is not None
        assert limits.stopping.wait(20)
        raise RunFailed("stopped", output=Path("x.ipynb"), error="the run was told to stop")

    manager = make(DAILY)
    manager.work = wait_for_the_end
    manager.start()
    desk.now.set("2026-11-23T06:00")  # type: ignore[attr-defined]
    assert begun.wait(20)
    manager.stop()

    assert not manager.is_running
    assert record(manager) == [("update", "23 06:00", "stopped", 1)]


def test_a_run_that_others_hold_for_lost_is_ended(make: Callable[..., Scheduler], desk: Desk) -> None:
    """The database was away for longer than the lease: another scheduler may run the job by now."""
    begun, ended = threading.Event(), threading.Event()

    def wait_for_the_end(job: Job, claim: Claim, limits: Limits) -> RunResult:
        begun.set()
        assert limits.stopping is not None
        if limits.stopping.wait(20):
            ended.set()
        raise RunFailed("stopped", output=Path("x.ipynb"), error="the run was told to stop")

    manager = make(DAILY)
    manager.work = wait_for_the_end
    desk.now.set("2026-11-23T06:00")  # type: ignore[attr-defined]
    manager.look()
    assert begun.wait(10)
    run_id = int(manager.runs.load().iloc[0]["id"])
    manager.runs.end(run_id, "lost", desk.now())
    manager._renewed = 0.0
    manager.look_and_wait()

    assert ended.is_set()
    assert record(manager) == [("update", "23 06:00", "lost", 1)]


def test_a_job_that_cannot_run_is_refused_at_the_start_by_its_name(make: Callable[..., Scheduler]) -> None:
    wrong = [replace(HOURLY, parameters={"topp": 3}), replace(DAILY, notebook="09-nothing")]

    with pytest.raises(InvalidSettings, match=r"jobs.screen: .*topp[\s\S]*jobs.update: .*09-nothing"):
        make(*wrong).start()


def test_whatever_breaks_in_a_run_its_record_is_ended_and_tells_it_without_secrets(
    database: DatabaseManager, desk: Desk
) -> None:
    manager = Scheduler([DAILY], JobRuns(database), replace(desk, secrets=["hunter22"]))

    def break_down(*_: Any) -> RunResult:
        raise ZeroDivisionError("nobody thought of hunter22")

    manager.work = break_down
    desk.now.set("2026-11-23T06:00")  # type: ignore[attr-defined]
    manager.look_and_wait()

    assert record(manager) == [("update", "23 06:00", "failed", 1)]
    assert manager.runs.load().iloc[0]["error"] == "ZeroDivisionError: nobody thought of ***"


def test_an_end_that_cannot_be_recorded_is_recorded_later(
    make: Callable[..., Scheduler], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = make(DAILY)
    real, failures = manager.runs.end, [StoreError("the disk is full"), StoreError("the disk is full")]

    def end(*values: Any, **more: Any) -> None:
        if failures:
            raise failures.pop()
        real(*values, **more)

    monkeypatch.setattr(runner, "_AGAIN_S", 0.01)
    manager.runs.end = end  # type: ignore[method-assign]
    desk.now.set("2026-11-23T06:00")  # type: ignore[attr-defined]
    manager.look_and_wait()

    assert failures == []
    assert record(manager) == [("update", "23 06:00", "succeeded", 1)]


def test_a_job_is_run_now_once_at_a_time(make: Callable[..., Scheduler], desk: Desk) -> None:
    manager, other = make(DAILY), make(DAILY)
    begun, going = threading.Event(), threading.Event()
    desk.now.set("2026-11-23T12:34")  # type: ignore[attr-defined]

    def wait(*_: Any) -> RunResult:
        begun.set()
        assert going.wait(20)
        return RunResult(Path("x.ipynb"), 1, 0.1)

    manager.work = wait
    numbers: list[int | None] = []
    running = threading.Thread(target=lambda: numbers.append(manager.run_now("update", threading.Event())))
    running.start()
    assert begun.wait(20)
    refused = other.run_now("update", threading.Event())
    going.set()
    running.join(20)

    assert refused is None
    assert numbers == [int(manager.runs.load().iloc[0]["id"])]
    assert record(manager) == [("update", "23 12:34", "succeeded", 1)]


def test_what_is_no_job_cannot_be_run_now(make: Callable[..., Scheduler]) -> None:
    with pytest.raises(InvalidInput, match="no job is called scren; there are screen, update"):
        make(HOURLY, DAILY).run_now("scren", threading.Event())


def test_old_runs_are_forgotten_with_what_they_left_and_nothing_else(
    database: DatabaseManager, desk: Desk, tmp_path: Path
) -> None:
    inside, outside = desk.output / "2026-11-23" / "screen.ipynb", tmp_path / "mine.ipynb"
    for path in (inside, inside.with_suffix(".html"), outside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    manager = Scheduler([], JobRuns(database), desk)
    for number, path in enumerate((inside, outside)):
        run_id = manager.runs.claim(Claim(f"job-{number}", desk.now(), desk.now().date()), manager._holder, desk.now())
        assert run_id is not None
        manager.runs.end(run_id, "succeeded", desk.now(), output_path=str(path))

    desk.now.set("2027-11-23T06:00")  # type: ignore[attr-defined]
    manager.look()

    assert record(manager) == []
    assert [path.exists() for path in (inside, inside.with_suffix(".html"), outside)] == [False, False, True]


def test_the_scheduler_survives_a_database_that_fails(make: Callable[..., Scheduler], desk: Desk) -> None:
    manager = make(DAILY)
    real, failures = manager.runs.last, [True]

    def fail_once() -> Any:
        if failures:
            failures.pop()
            raise RuntimeError("the disk is full")
        return real()

    manager.runs.last = fail_once  # type: ignore[method-assign]
    ran = threading.Event()
    manager.work = lambda *_: (ran.set(), RunResult(Path("x.ipynb"), 1, 0.1))[1]
    manager.start()
    desk.now.set("2026-11-23T06:00")  # type: ignore[attr-defined]

    assert ran.wait(20)
    manager.stop()
