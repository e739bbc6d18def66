"""What a notebook declares is read exactly; what a run gives is checked before anything starts."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import InvalidParameters, NotebookError
from workbench.pipeline.parameters import Parameter, check_parameters, read_parameters


def notebook(folder: Path, source: str, tags: list[str] | None = None) -> Path:
    cell = {"cell_type": "code", "metadata": {"tags": tags or ["parameters"]}, "source": source.splitlines(True)}
    path = folder / "01-some-notebook.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_names_types_defaults_and_comments_are_read_in_order(tmp_path: Path) -> None:
    path = notebook(
        tmp_path,
        '"""What to fetch."""\n'
        'symbols: list[str] = ["AAPL"]  # symbols to fetch; empty: the whole universe\n'
        "since: str | None = None  # first session\n"
        "\n"
        "# a remark that belongs to nobody\n"
        'label = "a=b # not a comment"\n'
        "weights: dict[str, float] = {\n"
        '    "1day": 0.35,  # a remark inside\n'
        '    "1hour": -1,\n'
        "}  # by timeframe\n"
        "live: bool = False",
    )

    assert read_parameters(path) == [
        Parameter("symbols", "list[str]", ["AAPL"], "symbols to fetch; empty: the whole universe"),
        Parameter("since", "str | None", None, "first session"),
        Parameter("label", "str", "a=b # not a comment", ""),
        Parameter("weights", "dict[str, float]", {"1day": 0.35, "1hour": -1}, "by timeframe"),
        Parameter("live", "bool", False, ""),
    ]


def test_a_notebook_without_a_parameters_cell_has_none(tmp_path: Path) -> None:
    assert read_parameters(notebook(tmp_path, "symbols = 1", tags=["other"])) == []


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("symbols = load()", "malformed node"),
        ("import os", "line 1"),
        ("a = b = 1", "line 1"),
        ("since: date = None", "date"),
        ("levels: set[int] = {1}", "set"),
        ("bars: int = 'many'", "bars"),
        ("ratio: float = 1e999", "ratio"),
        ("if", "invalid syntax"),
        ("%matplotlib inline", "invalid syntax"),
    ],
)
def test_a_cell_that_is_not_plain_values_is_refused(tmp_path: Path, source: str, named: str) -> None:
    with pytest.raises(NotebookError, match="01-some-notebook") as caught:
        read_parameters(notebook(tmp_path, source))

    assert named in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": [1]}', '{"cells": [{"cell_type": "code"}]}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "01-broken.ipynb"
    path.write_text(content)

    with pytest.raises(NotebookError, match="is not a Jupyter notebook"):
        read_parameters(path)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("str", "2024-01-02", "2024-01-02"),
        ("str", "500", "500"),
        ("str", date(2024, 1, 2), "2024-01-02"),
        ("str", Path("data/demo"), "data/demo"),
        ("int", "500", 500),
        ("int", -3, -3),
        ("int", np.int64(7), 7),
        ("float", "0.5", 0.5),
        ("float", 2, 2.0),
        ("bool", "true", True),
        ("bool", "Off", False),
        ("list[str]", "AAPL,MSFT", ["AAPL", "MSFT"]),
        ("list[str]", "BRK B, AAPL", ["BRK B", "AAPL"]),
        ("list[str]", '["AAPL"]', ["AAPL"]),
        ("list[str]", "", []),
        ("list[str]", ("AAPL", "MSFT"), ["AAPL", "MSFT"]),
        ("list[int]", "1,2", [1, 2]),
        ("list[float]", "[1, 2.5]", [1.0, 2.5]),
        ("list", '[1, "a", null]', [1, "a", None]),
        ("dict", '{"a": [1]}', {"a": [1]}),
        ("dict[str, float]", {"a": 1}, {"a": 1}),
        ("str | None", "null", None),
        ("str | None", "AAPL", "AAPL"),
        ("str | None", None, None),
        ("int | None", "3", 3),
        ("int | None", "none", None),
    ],
)
def test_what_is_given_becomes_a_value_of_the_declared_type(kind: str, given: object, value: object) -> None:
    checked = check_parameters([Parameter("it", kind, None)], {"it": given})["it"]

    assert checked == value
    assert type(checked) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("str", 5),
        ("str", None),
        ("int", "5.0"),
        ("int", True),
        ("int", 5.0),
        ("float", "much"),
        ("float", "nan"),
        ("float", float("inf")),
        ("bool", "perhaps"),
        ("bool", 1),
        ("list[str]", [1]),
        ("list[str]", '["AAPL"'),
        ("list[int]", "1,x"),
        ("dict", "[1]"),
        ("dict", "a=1"),
        ("dict", {"a": float("nan")}),
        ("str", object()),
    ],
)
def test_what_cannot_be_of_the_declared_type_is_refused(kind: str, given: object) -> None:
    with pytest.raises(InvalidParameters) as caught:
        check_parameters([Parameter("it", kind, None)], {"it": given})

    assert f"it: {given!r} is not of type {kind}" in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    declared = [Parameter("symbols", "list[str]", []), Parameter("bars", "int", 500)]

    with pytest.raises(InvalidParameters) as caught:
        check_parameters(declared, {"symbls": "AAPL", "bars": "many", "zone": "UTC"})

    assert str(caught.value).splitlines() == [
        "symbls: no such parameter; did you mean symbols?",
        "bars: 'many' is not of type int",
        "zone: no such parameter; the notebook has symbols, bars",
    ]


def test_only_what_is_given_comes_back() -> None:
    declared = [Parameter("symbols", "list[str]", ["AAPL"]), Parameter("bars", "int", 500)]

    assert check_parameters(declared, {"bars": 5}) == {"bars": 5}


def test_reading_parameters_imports_nothing_heavy() -> None:
    heavy = {"papermill", "nbformat", "nbclient", "jupyter_client", "pandas"}
    code = f"import sys, workbench.pipeline.notebooks; print(*{heavy} & {{*sys.modules}})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
