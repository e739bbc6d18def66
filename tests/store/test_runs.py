"""The record of runs, and the claim that it is: on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from workbench.store import runs
from workbench.store.database import DatabaseManager
from workbench.store.holders import Holder, this_process
from workbench.store.runs import Claim, JobRuns

NOON = datetime(2026, 11, 23, 17, tzinfo=UTC)
SCREEN = Claim("screen", NOON, date(2026, 11, 23), notebook="04-screen", notebook_version="abc", parameters={"top": 5})


@pytest.fixture
def recorded(database_url: str) -> Iterator[JobRuns]:
    with DatabaseManager(database_url) as database:
        yield JobRuns(database)


def gone() -> Holder:
    """Return a process that has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return replace(this_process(), pid=pid, started="0")


def test_a_run_is_recorded_from_its_begin_to_its_end(recorded: JobRuns) -> None:
    run_id = recorded.claim(SCREEN, this_process(), NOON)
    assert run_id is not None
    recorded.end(run_id, "failed", NOON + timedelta(seconds=9), failed_cell="In [2]", error="boom", figures={"hits": 3})

    [row] = recorded.load().to_dict("records")

    assert (row["job"], row["due"], row["session"], row["outcome"]) == ("screen", NOON, date(2026, 11, 23), "failed")
    assert (row["started"], row["ended"]) == (NOON, NOON + timedelta(seconds=9))
    assert (row["failed_cell"], row["error"], row["figures"], row["parameters"]) == (
        "In [2]",
        "boom",
        {"hits": 3},
        {"top": 5},
    )


def test_where_a_lost_run_left_its_notebook_is_known(recorded: JobRuns) -> None:
    run_id = recorded.claim(SCREEN, gone(), NOON)
    assert run_id is not None
    recorded.place(run_id, "runs/screen.ipynb")
    recorded.end_lost(NOON)

    [row] = recorded.load(run_id=run_id).to_dict("records")

    assert (row["outcome"], row["output_path"]) == ("lost", "runs/screen.ipynb")
    assert recorded.load(run_id=run_id + 1).empty
    assert recorded.forget(NOON + timedelta(days=1)) == ["runs/screen.ipynb"]


def test_where_the_notebook_lies_stays_known_when_the_end_does_not_tell_it(recorded: JobRuns) -> None:
    run_id = recorded.claim(SCREEN, this_process(), NOON)
    assert run_id is not None
    recorded.place(run_id, "runs/screen.ipynb")
    recorded.end(run_id, "failed", NOON, error="unforeseen")

    assert recorded.load()["output_path"].tolist() == ["runs/screen.ipynb"]


def test_a_run_under_way_is_not_forgotten(recorded: JobRuns) -> None:
    recorded.claim(SCREEN, this_process(), NOON)

    assert recorded.forget(NOON + timedelta(days=400)) == []
    assert recorded.load()["outcome"].tolist() == ["running"]


def test_of_several_schedulers_one_has_the_run(recorded: JobRuns) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: recorded.claim(SCREEN, this_process(), NOON), range(16)))

    assert sum(one is not None for one in claims) == 1


def test_a_job_does_not_run_beside_itself_but_another_does(recorded: JobRuns) -> None:
    later = replace(SCREEN, due=NOON + timedelta(hours=1))
    first = recorded.claim(SCREEN, this_process(), NOON)
    assert first is not None

    assert recorded.claim(later, this_process(), NOON) is None
    assert recorded.claim(replace(SCREEN, job="update"), this_process(), NOON) is not None
    recorded.end(first, "succeeded", NOON)
    assert recorded.claim(later, this_process(), NOON) is not None


def test_what_ran_is_not_run_again_but_for_a_further_attempt(recorded: JobRuns) -> None:
    first = recorded.claim(SCREEN, this_process(), NOON)
    assert first is not None
    recorded.end(first, "failed", NOON)

    assert recorded.claim(SCREEN, this_process(), NOON) is None
    assert recorded.claim(replace(SCREEN, attempt=2), this_process(), NOON) is not None


def test_the_runs_of_a_scheduler_that_is_gone_are_lost_and_those_of_others_are_not(recorded: JobRuns) -> None:
    recorded.claim(SCREEN, gone(), NOON)
    recorded.claim(replace(SCREEN, job="update"), this_process(), NOON)

    assert recorded.end_lost(NOON + timedelta(minutes=5)) == ["screen"]
    assert {row["job"]: row["outcome"] for row in recorded.load().to_dict("records")} == {
        "screen": "lost",
        "update": "running",
    }


def test_a_scheduler_on_another_machine_lives_while_it_says_so(
    recorded: JobRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded.claim(SCREEN, replace(this_process(), machine="elsewhere"), NOON)
    recorded.claim(replace(SCREEN, job="silent"), replace(this_process(), machine="elsewhere"), NOON)
    assert run_id is not None
    begin, passed = runs._real_now(), timedelta(0)
    monkeypatch.setattr(runs, "_real_now", lambda: begin + passed)

    passed = timedelta(seconds=50)
    recorded.renew([run_id])
    passed = timedelta(seconds=55)
    assert recorded.end_lost(NOON) == []
    passed = timedelta(seconds=100)
    assert recorded.end_lost(NOON) == ["silent"]
    passed = timedelta(seconds=120)
    assert recorded.end_lost(NOON) == ["screen"]


def test_the_last_run_of_each_job_is_that_of_the_last_attempt(recorded: JobRuns) -> None:
    for attempt in (1, 2):
        run_id = recorded.claim(replace(SCREEN, attempt=attempt), this_process(), NOON)
        assert run_id is not None
        recorded.end(run_id, "failed", NOON)
    recorded.miss(replace(SCREEN, job="update"), "asleep", NOON)
    recorded.miss(replace(SCREEN, job="update"), "asleep", NOON)  # another scheduler says it too

    last = recorded.last()

    assert (last["screen"].attempt, last["screen"].outcome, last["screen"].due) == (2, "failed", NOON)
    assert (last["update"].attempt, last["update"].outcome) == (1, "missed")
    assert len(recorded.load()) == 3


def test_runs_are_found_by_job_outcome_and_time(recorded: JobRuns) -> None:
    for hours in range(4):
        claim = replace(SCREEN, due=NOON + timedelta(hours=hours))
        run_id = recorded.claim(claim, this_process(), NOON)
        assert run_id is not None
        recorded.end(run_id, "failed" if hours == 2 else "succeeded", NOON, output_path=f"{hours}.ipynb")

    def hours(**wanted: object) -> list[int]:
        return [(due - NOON) // timedelta(hours=1) for due in recorded.load(**wanted)["due"]]  # type: ignore[arg-type]

    assert hours() == [3, 2, 1, 0]
    assert hours(outcomes=["failed"]) == [2]
    assert hours(since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3)) == [2, 1]
    assert hours(limit=1) == [3]
    assert hours(job="other") == []
    assert recorded.forget(NOON + timedelta(hours=2)) == ["0.ipynb", "1.ipynb"]
    assert hours() == [3, 2]
