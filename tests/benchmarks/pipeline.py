"""What a scheduled run costs beside the bare papermill of the same notebook; `make bench` prints it.

Both in a fresh process, in turn, on a notebook that does nothing, so that all of it is start and end. Ours is a job's
whole run: claimed in the database, executed, its notebook published, its page written, its end recorded. The claim is
that it takes 0.3 s more than papermill alone, at most.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import nbformat

from workbench.pipeline.jobs import Job
from workbench.pipeline.manager import DataPipelineManager, Desk
from workbench.store.database import DatabaseManager
from workbench.store.runs import JobRuns

ROUNDS = 9
CLAIM_S = 0.3
BARE = """
import sys
import papermill
papermill.execute_notebook(sys.argv[1], sys.argv[2], {"top": 3}, kernel_name="python3", progress_bar=False)
"""


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def bare(notebook: Path, output: Path) -> None:
    """Run papermill as one would without us."""
    subprocess.run([sys.executable, "-c", BARE, str(notebook), str(output)], check=True, capture_output=True)


def ours(manager: DataPipelineManager) -> None:
    """Run the job, with its record and its page."""
    number = manager.run_now("nothing", threading.Event())
    [row] = manager.runs.load(run_id=number).to_dict("records")
    assert row["outcome"] == "succeeded", row["error"]
    assert Path(row["output_path"]).with_suffix(".html").is_file()


def main() -> None:
    """Measure both in turn and print the medians."""
    with tempfile.TemporaryDirectory() as name, DatabaseManager(f"sqlite:///{name}/trading.db") as database:
        folder = Path(name)
        cell = nbformat.v4.new_code_cell("top: int = 5", metadata={"tags": ["parameters"]})
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "01-nothing.ipynb")
        desk = Desk(folder, folder / "runs", partial(datetime.now, UTC), lambda *_: None)
        manager = DataPipelineManager([Job("nothing", "01", "06:00")], JobRuns(database), desk)
        took: dict[str, list[float]] = {"papermill alone": [], "a job's run": []}
        for round_number in range(ROUNDS + 1):
            pair = (
                seconds(partial(bare, folder / "01-nothing.ipynb", folder / "out.ipynb")),
                seconds(partial(ours, manager)),
            )
            if round_number:  # the first one reads everything from the disk
                for times, one in zip(took.values(), pair, strict=True):
                    times.append(one)
        for what, times in took.items():
            print(
                f"{what:16} {statistics.median(times):5.2f} s   ({min(times):.2f} to {max(times):.2f}, {ROUNDS} times)"
            )
        more = statistics.median(b - a for a, b in zip(*took.values(), strict=True))
        print(
            f"more             {more:5.2f} s   the claim: {CLAIM_S} s at most{'' if more <= CLAIM_S else ' - BROKEN'}"
        )


if __name__ == "__main__":
    main()
