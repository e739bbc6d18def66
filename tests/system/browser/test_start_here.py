"""The first notebook in JupyterLab with all its cells queued at once, and the form of another one's parameters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat

from tests.system.browser.lab import running_lab
from tests.system.browser.window import Window, window_on

START = Path(__file__).parents[3] / "notebooks" / "00-start-here.ipynb"
PARAMETERS = 'symbols: list[str] = ["KO"]  # which\nstyle: str = "light"  # light or dark\n'
TOLD = "document.querySelector('.jp-Notebook')?.innerText ?? ''"


def test_the_first_notebook_runs_with_all_cells_queued_and_a_form_runs_another(
    tmp_path: Path, chromium: Any, pictures: Path
) -> None:
    notebooks = tmp_path / "lab" / "notebooks"
    notebooks.mkdir(parents=True)
    shutil.copy(START, notebooks)
    declared = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    told = nbformat.v4.new_code_cell("print(style, symbols)")
    nbformat.write(nbformat.v4.new_notebook(cells=[declared, told]), notebooks / "09-try-form.ipynb")
    settings = {
        "WORKBENCH_DATA_DIR": str(tmp_path / "data"),
        "WORKBENCH_NOTEBOOKS_DIR": str(notebooks),
        "WORKBENCH_RUNS_DIR": str(tmp_path / "lab" / "papermill_runs"),
    }
    with running_lab(tmp_path / "lab", settings) as lab, window_on(lab, chromium, pictures) as window:
        lab.write("notebooks/form.ipynb", "import workbench as wb", "wb.open().form('09-try-form')")
        window.open("notebooks/00-start-here.ipynb")
        window.run_all()
        window.wait_for("document.querySelector('.jp-RenderedImage img')?.naturalWidth > 1000")
        assert "not connected" not in window.page.inner_text(".jp-Notebook")
        window.picture("start-here-1280-light")
        window.open("notebooks/form.ipynb", style="dark")
        window.run_all()
        fills_in_and_runs(window, tmp_path / "lab" / "papermill_runs")


def fills_in_and_runs(window: Window, runs: Path) -> None:
    page = window.page
    page.locator(".jp-OutputArea select").first.select_option("dark")
    page.locator(".jp-OutputArea textarea").fill("KO, MSFT")
    page.keyboard.press("Tab")
    page.locator(".jp-OutputArea button.mod-primary").click()
    window.wait_for(f"({TOLD}).includes('3 cells in')")
    window.picture("form-1280-dark")

    (executed,) = runs.rglob("*.ipynb")
    cells = json.loads(executed.read_text())["cells"]
    assert cells[-1]["outputs"][0]["text"] == ["dark ['KO', 'MSFT']\n"]
    page.get_by_text("the executed notebook").click()
    page.wait_for_selector(f".lm-TabBar-tabLabel:has-text('{executed.name}')")
