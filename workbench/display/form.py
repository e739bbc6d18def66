"""A notebook's parameters as a form, with a button that runs the notebook headlessly with what is filled in.

It sets no variable of the notebook that shows it: what a page of cells shows is what its own parameters say, and a run
with others is another run, with its own executed notebook. Where no kernel runs, and in a headless run, a table of the
parameters stands in its place.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import date
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ipywidgets as widgets

from workbench import html
from workbench.errors import InvalidParameters, WorkbenchError
from workbench.market.timeframes import TIMEFRAMES
from workbench.pipeline.notebooks import Limits, RunResult, run_notebook
from workbench.pipeline.parameters import Json, Parameter, check_parameters, read_parameters

_A_DATE = re.compile(r"\bsuch as \d{4}-\d\d-\d\d(?!T)")
_UNSEEN = {"progress": False}
"""A run in a process of its own has nobody who would look at its bars of progress."""

Run = Callable[..., RunResult]


class NotebookForm(widgets.VBox):  # type: ignore[misc]
    """The parameters of the notebook at `path` as controls, a button that runs it into `runs`, and how that goes.

    `values` is what is filled in. `secrets` are kept out of what a run leaves.
    """

    def __init__(self, path: Path, runs: Path, *, secrets: Collection[str] = (), run: Run = run_notebook) -> None:
        self._path, self._runs, self._secrets, self._run = path, runs, tuple(secrets), run
        self._declared = read_parameters(path)
        self.fields = {one.name: _field(one) for one in self._declared if one.name not in _UNSEEN}
        self.start = widgets.Button(description="Run", icon="play", button_style="primary")
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self.bar = widgets.IntProgress(0, 0, 1, layout={"width": "16em", "display": "none"})
        self.told = widgets.HTML()
        self.result = widgets.Output()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.start.on_click(lambda _: self.begin())
        self.stop.on_click(lambda _: self._stopping.set())
        rows = [_row(one, self.fields[one.name]) for one in self._declared if one.name in self.fields]
        buttons = widgets.HBox([self.start, self.stop, self.bar, self.told])
        super().__init__([widgets.HTML(f"<b>{escape(path.stem)}</b>"), *rows, buttons, self.result])

    @property
    def values(self) -> dict[str, Json]:
        """What differs from the notebook's own values. Raises `InvalidParameters` with everything that is wrong."""
        given = {name: _value(field) for name, field in self.fields.items()}
        given |= {one.name: _UNSEEN[one.name] for one in self._declared if one.name in _UNSEEN}
        checked = check_parameters(self._declared, given)
        return {one.name: checked[one.name] for one in self._declared if checked[one.name] != one.default}

    def begin(self) -> None:
        """Run the notebook with what is filled in, in the background; one run at a time."""
        if self._thread is not None and self._thread.is_alive():
            return
        try:
            values = self.values
        except InvalidParameters as error:
            self.told.value = html.note(str(error), state="bad")
            return
        self._stopping.clear()
        self.result.outputs = ()
        self._set_running(is_running=True)
        self._thread = threading.Thread(target=self._follow, args=(values,), name="notebook form", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the run to end."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _follow(self, values: Mapping[str, Json]) -> None:
        try:
            limits = Limits(stopping=self._stopping)
            done = self._run(
                self._path, values, self._runs, limits=limits, secrets=self._secrets, on_cell=self._on_cell
            )
            self.told.value = html.note(f"{done.cells} cells in {done.seconds:.1f} s", state="good")
            self._link(done.output)
        except WorkbenchError as error:
            self.told.value = html.note(str(error).partition("\n")[0], state="bad")
            self._link(getattr(error, "output", None))
        finally:
            self._set_running(is_running=False)

    def _on_cell(self, done: int, total: int) -> None:
        self.bar.max, self.bar.value = total, done
        self.told.value = html.note(f"{done} of {total} cells")

    def _set_running(self, *, is_running: bool) -> None:
        self.start.disabled, self.stop.disabled = is_running, not is_running
        self.bar.layout.display = "" if is_running else "none"
        self.bar.value = 0
        if is_running:
            self.told.value = html.note("starting …")

    def _link(self, output: Path | None) -> None:
        """Show where the executed notebook is, as a link that JupyterLab opens."""
        if output is None:
            return
        links = [(output, "the executed notebook"), (output.with_suffix(".html"), "its page")]
        told = [f'<a href="{escape(_from_here(path))}">{words}</a>' for path, words in links if path.exists()]
        shown = {"text/html": " · ".join(told), "text/plain": str(output)}
        self.result.outputs = ({"output_type": "display_data", "data": shown, "metadata": {}},)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the form, and a table of the parameters for readers without a kernel."""
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        lines = [(one.name, json.dumps(one.default), one.help) for one in self._declared]
        table = html.card(f"{self._path.stem}: its parameters", html.rows(("name", "value", "what"), lines))
        command = f"workbench run {self._path.stem}"
        return {**(data or {}), "text/html": table, "text/plain": f"the form of {command}"}, metadata


def _from_here(path: Path) -> str:
    """Return the link to a path from the folder in which the notebook is: its kernel works there."""
    return quote(Path(os.path.relpath(path)).as_posix())


# -- one control for each parameter


def _field(one: Parameter) -> widgets.Widget:
    """Return the control that fits a parameter's type, default and help."""
    layout = {"width": "26em"}
    if one.type == "bool":
        return widgets.Checkbox(value=one.default, indent=False, layout=layout)
    if one.type == "int":
        return widgets.IntText(value=one.default, layout=layout)
    if one.type == "float":
        return widgets.FloatText(value=one.default, layout=layout)
    if one.type == "list[str]":
        return _names_field(one)
    if one.type == "str":
        if one.choices:
            return widgets.Dropdown(options=one.choices, value=one.default, layout=layout)
        if _A_DATE.search(one.help):
            return widgets.DatePicker(
                value=date.fromisoformat(str(one.default)) if one.default else None, layout=layout
            )
        return widgets.Text(value=one.default, layout=layout)
    return widgets.Text(value=json.dumps(one.default), layout=layout)  # lists of other things, tables, None


def _names_field(one: Parameter) -> widgets.Widget:
    names = one.default if isinstance(one.default, list) else []
    if names and set(names) <= set(TIMEFRAMES):
        options = list(TIMEFRAMES)
        return widgets.SelectMultiple(options=options, value=names, rows=len(options), layout={"width": "26em"})
    text = ", ".join(map(str, names))
    return widgets.Textarea(value=text, rows=1 + len(text) // 40, placeholder="AAPL, MSFT", layout={"width": "26em"})


def _value(field: widgets.Widget) -> object:
    """Return what is filled in, for `check_parameters` to read."""
    value = field.value
    if isinstance(field, widgets.DatePicker):
        return value.isoformat() if value else ""
    if isinstance(field, widgets.Textarea):
        return [name.strip() for name in re.split(r"[,\n]", value) if name.strip()]
    return list(value) if isinstance(value, tuple) else value


def _row(one: Parameter, field: widgets.Widget) -> widgets.HBox:
    name = widgets.HTML(f"<code>{escape(one.name)}</code>", layout={"width": "10em"})
    told = widgets.HTML(html.note(one.help), layout={"flex": "1 1 20em"})
    return widgets.HBox([name, field, told], layout={"align_items": "flex-start", "max_width": "64em"})
