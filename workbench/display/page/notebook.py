"""The notebook behind the page: of the board's own notebook only what shows the board. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.errors import NotebookError
from workbench.pipeline.parameters import Json

TAG = "board"
"""Marks the cells of a notebook that show the board."""

_BEGIN = "from workbench.display.page.visit import begin\n\nbegin(board, desk, record=not viewer)\n"


def page_notebook(text: str, values: Mapping[str, Json]) -> str:
    """Return a notebook of the cells that are tagged `parameters` or `board`, with `values` in the place of defaults.

    Raise `NotebookError` when no cell shows a board.
    """
    whole: dict[str, Any] = json.loads(text)
    parameters = [cell for cell in whole["cells"] if "parameters" in _tags(cell)]
    showing = [cell for cell in whole["cells"] if TAG in _tags(cell)]
    if not showing:
        raise NotebookError(f"no cell of the notebook is tagged {TAG}: tag the one that makes and shows the board")
    given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    cells = [*parameters, _code("given", given), *showing, _code("begin", _BEGIN)]
    return json.dumps({**whole, "cells": cells})


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def _code(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "code", "id": name, "source": source, "metadata": {}, "outputs": [], "execution_count": None}
