"""Runs of real notebooks: what is left behind, and what is said, however a run ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workbench.errors import InvalidParameters, NotebookError, RunFailed, UnknownNotebook
from workbench.pipeline.notebooks import Limits, find_notebook, run_notebook

PARAMETERS = 'symbols: list[str] = ["SPY"]  # what to fetch\nbars: int = 500\n'
NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def write_notebook(folder: Path, *sources: str, name: str = "01-try-it", parameters: str = PARAMETERS) -> Path:
    cells = [nbformat.v4.new_markdown_cell("# Does it run?"), nbformat.v4.new_code_cell(parameters)]
    cells[1].metadata["tags"] = ["parameters"]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def text_of(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def errors_of(cell: Any) -> list[str]:
    return [f"{o.ename}: {o.evalue}" for o in cell.outputs if o.output_type == "error"]


def files_in(folder: Path) -> list[str]:
    """Return what is there, but for the pages that stand beside notebooks."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".html"
    )


def processes_with(mark: str) -> list[int]:
    """Return the processes, kernels among them, that carry `mark` in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            carries = mark.encode() in (folder / "environ").read_bytes()
            alive = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            continue
        if carries and alive and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Mark the processes of the test by a secret in the environment; none may be left at its end."""
    mark = f"WORKBENCH_TEST_SECRET={tmp_path.name}-hush"
    monkeypatch.setenv(*mark.split("="))
    yield mark
    deadline = time.monotonic() + 10
    while (left := processes_with(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


# -- by name


@pytest.mark.parametrize(
    "name",
    ["01-backfill-history", "01-backfill-history.ipynb", "backfill-history", "01", "01-b", "back", "BACKFILL"],
)
def test_a_notebook_is_found_by_its_name_number_words_or_their_beginning(tmp_path: Path, name: str) -> None:
    for stem in ("01-backfill-history", "02-explore-indicators", "02-explore-indicators-more", "free"):
        (tmp_path / f"{stem}.ipynb").touch()

    assert find_notebook(name, tmp_path) == tmp_path / "01-backfill-history.ipynb"


def test_a_whole_name_wins_over_a_beginning(tmp_path: Path) -> None:
    for stem in ("02-explore", "03-explore-more"):
        (tmp_path / f"{stem}.ipynb").touch()

    assert find_notebook("explore", tmp_path).stem == "02-explore"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("backfil-histroy", "did you mean 01-backfill-history"),
        ("0", "may be any of 01-backfill-history, 02-explore-indicators"),
        ("zzz", "there are 01-backfill-history, 02-explore-indicators"),
        ("", "there are 01-backfill-history"),
        ("../01-backfill-history", "no notebook"),
    ],
)
def test_an_unknown_notebook_is_refused_with_the_near_ones(tmp_path: Path, name: str, said: str) -> None:
    for stem in ("01-backfill-history", "02-explore-indicators"):
        (tmp_path / f"{stem}.ipynb").touch()

    with pytest.raises(UnknownNotebook, match=said):
        find_notebook(name, tmp_path)


def test_a_folder_without_notebooks_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownNotebook, match="There is no notebook in"):
        find_notebook("01", tmp_path / "nowhere")


def test_the_path_of_a_notebook_is_itself(tmp_path: Path) -> None:
    path = write_notebook(tmp_path, "1")

    assert find_notebook(str(path), tmp_path / "elsewhere") == path


# -- runs that succeed


def test_a_run_leaves_one_whole_notebook_and_reports_progress(tmp_path: Path, mark: str) -> None:
    (tmp_path / "{notebooks}").mkdir()
    path = write_notebook(
        tmp_path / "{notebooks}", "import os, sys\nprint(sys.executable, os.getcwd())", "print(symbols, bars)"
    )
    seen: list[tuple[int, int]] = []

    result = run_notebook(
        path, {"symbols": "AAPL,MSFT"}, tmp_path / "{runs}", started=NOON, on_cell=lambda *step: seen.append(step)
    )

    assert files_in(tmp_path / "{runs}") == ["2026-11-20/01-try-it-120000.ipynb"]
    assert result.output == tmp_path / "{runs}" / "2026-11-20" / "01-try-it-120000.ipynb"
    assert result.cells == 4
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    cells = code_cells(result.output)
    assert text_of(cells[2]) == f"{sys.executable} {Path.cwd()}\n"
    assert text_of(cells[3]) == "['AAPL', 'MSFT'] 500\n"
    assert mark.split("=")[1] not in result.output.read_text()
    nbformat.validate(nbformat.read(result.output, as_version=4))


def test_parameters_of_every_type_arrive_as_they_are(tmp_path: Path, mark: str) -> None:
    given = {
        "text": "quotes \" and ' and \\ and ünï {x} \n",
        "whole": -5,
        "real": 0.1,
        "truth": True,
        "texts": ["A", "B"],
        "numbers": [1.5, 2.0],
        "table": {"a": [1, None, {"b": False}]},
        "perhaps": None,
    }
    declared = (
        'text: str = ""\nwhole: int = 0\nreal: float = 0.0\ntruth: bool = False\ntexts: list[str] = []\n'
        'numbers: list[float] = []\ntable: dict = {}\nperhaps: str | None = "x"\n'
    )
    path = write_notebook(
        tmp_path,
        f"import json\nprint(json.dumps({{name: globals()[name] for name in {list(given)}}}))",
        parameters=declared,
    )

    result = run_notebook(path, given, tmp_path / "runs")

    assert json.loads(text_of(code_cells(result.output)[-1])) == given


def test_two_runs_in_one_second_leave_two_notebooks(tmp_path: Path, mark: str) -> None:
    path = write_notebook(tmp_path, "print(bars)")
    runs = [
        threading.Thread(target=run_notebook, args=(path, {"bars": bars}, tmp_path / "runs"), kwargs={"started": NOON})
        for bars in (1, 2)
    ]

    for run in runs:
        run.start()
    for run in runs:
        run.join()

    folder = tmp_path / "runs" / "2026-11-20"
    assert files_in(folder) == ["01-try-it-120000-2.ipynb", "01-try-it-120000.ipynb"]
    assert {text_of(code_cells(output)[-1]) for output in folder.glob("*.ipynb")} == {"1\n", "2\n"}


def test_what_processes_print_at_their_start_disturbs_nothing(
    tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nprint('noise')\nprint('noise', file=sys.stderr)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    path = write_notebook(tmp_path, "print('heard')")

    result = run_notebook(path, {}, tmp_path / "runs")

    assert text_of(code_cells(result.output)[1]) == "heard\n"
    assert capfd.readouterr() == ("", "")


def test_a_run_does_not_wait_for_a_grammar_that_no_notebook_needs() -> None:
    """jsonschema would build it, for a second and a half, in every run."""
    code = "from workbench.pipeline import execute; execute._spare_a_grammar(); import nbformat, sys; "

    subprocess.run(
        [sys.executable, "-c", f"{code}assert not {{'lark', 'rfc3987_syntax.grammar'}} & {{*sys.modules}}"], check=True
    )


# -- runs that are refused


def test_wrong_parameters_are_refused_before_anything_starts(tmp_path: Path, mark: str) -> None:
    path = write_notebook(tmp_path, "1")
    begin = time.monotonic()

    with pytest.raises(InvalidParameters, match="01-try-it") as caught:
        run_notebook(path, {"symbls": "AAPL", "bars": "many"}, tmp_path / "runs")

    assert "did you mean symbols" in str(caught.value)
    assert "bars: 'many' is not of type int" in str(caught.value)
    assert not (tmp_path / "runs").exists()
    assert processes_with(mark) == []
    assert time.monotonic() - begin < 0.5


def test_what_is_no_notebook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "01-empty.ipynb").touch()

    with pytest.raises(NotebookError, match="not a Jupyter notebook"):
        run_notebook(tmp_path / "01-empty.ipynb", {}, tmp_path / "runs")

    assert not (tmp_path / "runs").exists()


def test_a_run_leaves_a_page_that_needs_no_network_and_the_figures_it_recorded(tmp_path: Path, mark: str) -> None:
    path = write_notebook(
        tmp_path,
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "import numpy as np\nimport workbench as wb\nwb.record('bars', np.int64(3))",
        "wb.record('bars', 4)\nwb.record('best', 'SPY')",
        "from ipywidgets import IntSlider\nIntSlider(3)",
    )

    result = run_notebook(path, {}, tmp_path / "runs", started=NOON)

    page = result.output.with_suffix(".html").read_text(encoding="utf-8")
    assert result.figures == {"bars": 4, "best": "SPY"}
    assert "data:image/png;base64," in page
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=.?https?://", page) == []
    assert "bars: 4" in page


def test_nothing_that_a_run_leaves_holds_a_secret(tmp_path: Path, mark: str) -> None:
    secret = 'pa"ss w@rd/1'
    told = json.dumps(secret)
    path = write_notebook(
        tmp_path, f"print({told})", f"from urllib.parse import quote\nraise ValueError({told} + quote({told}))"
    )

    with pytest.raises(RunFailed) as caught:
        run_notebook(path, {}, tmp_path / "runs", started=NOON, secrets=[secret])

    left = {file.suffix: file.read_text(encoding="utf-8") for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    outputs = "".join(str(cell.outputs) for cell in code_cells(caught.value.output))
    assert set(left) == {".ipynb", ".html"}
    assert "***" in outputs
    assert secret not in outputs
    assert "pa%22ss" not in str(left) + caught.value.error
    assert caught.value.error == "ValueError: ******"


# -- runs that fail: the notebook is kept, and says what the error says


def failed_run(path: Path, runs: Path, **options: Any) -> tuple[RunFailed, list[Any]]:
    with pytest.raises(RunFailed) as caught:
        run_notebook(path, {"bars": 1}, runs, started=NOON, **options)
    assert files_in(runs) == ["2026-11-20/01-try-it-120000.ipynb"]
    notebook = nbformat.read(caught.value.output, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.papermill.exception is True
    cells = code_cells(caught.value.output)
    assert [cell.metadata.papermill.status for cell in cells[-2:]] == ["failed", "pending"]
    assert text_of(cells[2]) == "before\n"
    return caught.value, cells


def test_a_failing_cell_is_named_with_its_error(tmp_path: Path, mark: str) -> None:
    path = write_notebook(tmp_path, "print('before')", "\nratio = 1 / 0", "print('after')")

    error, cells = failed_run(path, tmp_path / "runs")

    assert 'in cell In [4], "ratio = 1 / 0": ZeroDivisionError: division by zero' in str(error)
    assert str(error.output) in str(error)
    assert cells[3].execution_count == 4
    assert errors_of(cells[3]) == ["ZeroDivisionError: division by zero"]


def test_a_kernel_that_dies_is_noticed(tmp_path: Path, mark: str) -> None:
    path = write_notebook(tmp_path, "print('before')", "import os\nos._exit(0)", "print('after')")

    error, cells = failed_run(path, tmp_path / "runs")

    assert 'in cell In [4], "import os": the kernel died' in str(error)
    assert "the kernel died" in errors_of(cells[3])[0]


def test_a_run_over_its_time_limit_is_ended(tmp_path: Path, mark: str) -> None:
    path = write_notebook(tmp_path, "print('before')", "import time\ntime.sleep(60)", "print('after')")

    error, cells = failed_run(path, tmp_path / "runs", limits=Limits(timeout_s=10))

    assert 'in cell In [4], "import time": the run took longer than 10 s' in str(error)
    assert errors_of(cells[3])[-1] == "RunFailed: the run took longer than 10 s"


def test_a_run_over_its_memory_limit_is_ended(tmp_path: Path, mark: str) -> None:
    greedy = "import time\nheld = bytearray(b'x' * 700_000_000)\ntime.sleep(60)"
    path = write_notebook(tmp_path, "print('before')", greedy, "print('after')")

    error, _ = failed_run(path, tmp_path / "runs", limits=Limits(memory_mb=650))

    assert (error.place, error.error) == ('in cell In [4], "import time"', "the run took more than 650 MB of memory")


def test_a_run_is_stopped_from_another_thread(tmp_path: Path, mark: str) -> None:
    stopping = threading.Event()
    path = write_notebook(tmp_path, "print('before')", "import time\ntime.sleep(60)", "print('after')")

    def stop_in_the_third(done: int, total: int) -> None:
        if done == 3:
            stopping.set()

    error, _ = failed_run(path, tmp_path / "runs", limits=Limits(stopping=stopping), on_cell=stop_in_the_third)

    assert error.error == "the run was told to stop"


def test_a_run_whose_process_is_killed_keeps_what_it_had(tmp_path: Path, mark: str) -> None:
    # The sum holds the interpreter's lock: the kernel cannot notice by itself that its parent is gone.
    path = write_notebook(tmp_path, "print('before')", "import os\nos.kill(os.getppid(), 9)\nsum(range(10**11))")

    with pytest.raises(RunFailed, match="killed by SIGKILL") as caught:
        run_notebook(path, {}, tmp_path / "runs", started=NOON)

    assert files_in(tmp_path / "runs") == ["2026-11-20/01-try-it-120000.ipynb"]
    assert text_of(code_cells(caught.value.output)[1]) == "before\n"


def test_a_callback_that_raises_ends_the_run(tmp_path: Path, mark: str) -> None:
    path = write_notebook(tmp_path, "import time\ntime.sleep(60)")

    def refuse(done: int, total: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        run_notebook(path, {}, tmp_path / "runs", started=NOON, on_cell=refuse)

    assert files_in(tmp_path / "runs") == ["2026-11-20/01-try-it-120000.ipynb"]


# -- runs that are interrupted

CALLER = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from workbench.pipeline.notebooks import run_notebook

run_notebook(
    Path(sys.argv[1]), {}, Path(sys.argv[2]), started=datetime(2026, 11, 20, 12, tzinfo=UTC),
    on_cell=lambda done, total: print(done, flush=True),
)
"""


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (signal.SIGINT, "stopped by KeyboardInterrupt"),
        (signal.SIGTERM, "the program that started the run has ended"),
        (signal.SIGKILL, "the program that started the run has ended"),
    ],
)
def test_a_caller_that_is_stopped_ends_kernel_and_keeps_the_notebook(
    tmp_path: Path, mark: str, sent: signal.Signals, reason: str
) -> None:
    path = write_notebook(tmp_path, "print('before')", "import time\ntime.sleep(60)", "print('after')")
    runs = tmp_path / "runs"

    with subprocess.Popen(
        [sys.executable, "-c", CALLER, str(path), str(runs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as caller:
        assert caller.stdout is not None
        while caller.stdout.readline().strip() != "2":
            assert caller.poll() is None
        time.sleep(0.3)
        os.killpg(caller.pid, sent)  # as a terminal does: to everything in the foreground
        _, noise = caller.communicate(timeout=30)

    deadline = time.monotonic() + 10
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert caller.returncode == -sent
    assert files_in(runs) == ["2026-11-20/01-try-it-120000.ipynb"]
    cells = code_cells(runs / "2026-11-20" / "01-try-it-120000.ipynb")
    assert text_of(cells[1]) == "before\n"
    assert errors_of(cells[2])[-1] == f"RunFailed: {reason}"
    if sent is signal.SIGINT:
        assert noise.splitlines()[-1].startswith("The notebook as far as it came: ")
