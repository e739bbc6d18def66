"""Notebooks run headlessly, and the pages that the runs leave: in a browser, without a network, without a kernel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.system.browser.lab import Lab
from tests.system.browser.window import window_on

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
FIRST = {"00-start-here": ["timeframe=1day", "progress=false"]}
"""What the others read."""
OTHERS = {
    "03-check-data": ["map_timeframe=1day", "progress=false"],
    "05-stream-live": ["symbols=AAPL", "minutes=0.02"],
    "07-replay-session": ["seconds=1"],
    "08-review-runs": [],
}
ELSEWHERE = {"01-backfill-history", "02-explore-indicators", "04-screen-universe", "06-save-session"}
"""Run headlessly by the tests of `workbench demo` and of the scheduler's day."""
DRAWN = {"00-start-here", "03-check-data", "05-stream-live", "07-replay-session"}
"""Those that always have a picture to show."""
OUTSIDE = re.compile(r"""<(?:script|img|link|iframe)[^>]*\b(?:src|href)=["']?(?:https?:)?//""")


def run(name: str, parameters: list[str], folder: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WORKBENCH_", "DATABASE_URL"))}
    settings = {
        "WORKBENCH_NOTEBOOKS_DIR": str(NOTEBOOKS),
        "WORKBENCH_GATEWAY__START": "2026-11-20T12:00:00",
        "WORKBENCH_GATEWAY__SPEED": "20",
    }
    given = [part for one in parameters for part in ("-p", one)]
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "run", name, *given],
        cwd=folder, env=clean | settings, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the executed notebooks by name, after they have run."""
    folder = tmp_path_factory.mktemp("runs")
    for name, parameters in FIRST.items():
        run(name, parameters, folder)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: run(*one, folder), OTHERS.items()))
    return {re.sub(r"-\d+$", "", path.stem): path for path in (folder / "papermill_runs").rglob("*.ipynb")}


def test_notebooks_run_headlessly_and_leave_pages_that_need_no_network(runs: dict[str, Path]) -> None:
    assert {*runs, *ELSEWHERE} == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    for name, path in runs.items():
        page = path.with_suffix(".html").read_text("utf-8")
        outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]

        assert not OUTSIDE.search(page), name
        assert "widgets" not in json.loads(path.read_text())["metadata"], name
        assert "Error displaying widget" not in page, name
        assert not [one for one in outputs if one["output_type"] == "error"], name
        assert ("data:image/png;base64" in page) >= (name in DRAWN), name


def test_pages_show_their_pictures_in_a_browser(runs: dict[str, Path], chromium: Any, pictures: Path) -> None:
    with window_on(Lab("", "", pictures), chromium, pictures) as window:
        for name in sorted(DRAWN):
            window.page.goto(runs[name].with_suffix(".html").as_uri())
            window.wait_for("document.images.length > 0 && [...document.images].every((one) => one.naturalWidth > 300)")
            window.page.screenshot(path=pictures / f"page-{name}.png", full_page=True)
            assert "Traceback" not in window.page.inner_text("body")
