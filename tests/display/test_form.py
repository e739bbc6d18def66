"""The form of a notebook's parameters."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import nbformat
import pytest

from workbench.display.form import NotebookForm
from workbench.errors import RunFailed
from workbench.pipeline.notebooks import RunResult

PARAMETERS = """
symbols: list[str] = ["AAPL", "KO"]  # which ones
timeframes: list[str] = ["15min", "1day"]  # for every symbol
since: str = ""  # first date, such as 2025-01-02; empty: all
as_of: str = ""  # a moment such as 2026-11-20T12:00-05:00
style: str = "light"  # light or dark
top: int = 20  # how many <rows>
share: float = 0.5  # of all
save: bool = True  # keep it
gates: dict = {}  # as in the settings
limit: int | None = None  # at most
progress: bool = True  # draw a bar
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    cell = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "09-try-form.ipynb")
    return tmp_path / "09-try-form.ipynb"


def form_of(notebook: Path, run: Any = None) -> NotebookForm:
    return NotebookForm(notebook, notebook.parent / "runs", run=run)


def test_each_type_has_its_control(notebook: Path) -> None:
    kinds = {name: type(field).__name__ for name, field in form_of(notebook).fields.items()}

    assert kinds == {
        "symbols": "Textarea",
        "timeframes": "SelectMultiple",
        "since": "DatePicker",
        "as_of": "Text",
        "style": "Dropdown",
        "top": "IntText",
        "share": "FloatText",
        "save": "Checkbox",
        "gates": "Text",
        "limit": "Text",
    }


def test_untouched_it_gives_the_notebooks_own_values(notebook: Path) -> None:
    assert form_of(notebook).values == {"progress": False}


def test_what_is_filled_in_is_what_the_run_gets(notebook: Path) -> None:
    form = form_of(notebook)
    filled = {
        "symbols": "MSFT, BRK B\nKO,",
        "timeframes": ("1hour",),
        "since": date(2026, 1, 5),
        "as_of": "2026-11-20",
        "style": "dark",
        "top": 3,
        "share": 1.0,
        "save": False,
        "gates": '{"price": "close > 5"}',
        "limit": "7",
    }
    for name, value in filled.items():
        form.fields[name].value = value

    assert form.values == filled | {
        "symbols": ["MSFT", "BRK B", "KO"], "timeframes": ["1hour"],
        "since": "2026-01-05", "gates": {"price": "close > 5"}, "limit": 7, "progress": False,
    }  # fmt: skip


def test_what_cannot_be_used_is_told_and_nothing_runs(notebook: Path) -> None:
    form = form_of(notebook, run=lambda *_, **__: pytest.fail("it ran"))
    form.fields["gates"].value = "<b>{"

    form.start.click()
    form.wait()

    assert "gates: &#x27;&lt;b&gt;{&#x27; is not of type dict" in form.told.value
    assert not form.start.disabled


def test_a_run_shows_its_progress_and_where_it_is(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(notebook.parent)
    begun, go_on = threading.Event(), threading.Event()
    given: dict[str, Any] = {}

    def run(path: Path, values: dict[str, Any], runs: Path, **options: Any) -> RunResult:
        given.update(values)
        options["on_cell"](2, 8)
        begun.set()
        go_on.wait(10)
        runs.mkdir()
        (runs / "a b&c.ipynb").touch()
        return RunResult(runs / "a b&c.ipynb", 8, 1.25)

    form = form_of(notebook, run)
    form.fields["top"].value = 5
    form.start.click()
    assert begun.wait(10)

    assert (form.bar.value, form.bar.max, form.bar.layout.display) == (2, 8, "")
    assert (form.start.disabled, form.stop.disabled) == (True, False)
    form.start.click()  # one run at a time
    go_on.set()
    form.wait()

    assert given == {"top": 5, "progress": False}
    assert "8 cells in 1.2 s" in form.told.value
    assert form.result.outputs[0]["data"]["text/html"] == '<a href="runs/a%20b%26c.ipynb">the executed notebook</a>'
    assert (form.start.disabled, form.stop.disabled) == (False, True)


def test_a_run_that_fails_says_where_and_a_stopped_one_ends(notebook: Path) -> None:
    def run(*_: Any, **options: Any) -> RunResult:
        assert options["limits"].stopping.wait(10)
        raise RunFailed("09 failed in cell In [2]: <Stopped>\nThe executed notebook: x", output=notebook)

    form = form_of(notebook, run)
    form.start.click()
    form.stop.click()
    form.wait()

    assert "09 failed in cell In [2]: &lt;Stopped&gt;</p>" in form.told.value
    assert "the executed notebook" in form.result.outputs[0]["data"]["text/html"]
    assert not form.start.disabled


def test_without_a_kernel_it_is_a_table(notebook: Path) -> None:
    data, _ = form_of(notebook)._repr_mimebundle_()

    assert "how many &lt;rows&gt;" in data["text/html"]
    assert "<input" not in data["text/html"]
    assert data["text/plain"] == "the form of workbench run 09-try-form"
    assert isinstance(form_of(notebook), widgets.VBox)
