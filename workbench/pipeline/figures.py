"""Figures that a notebook records of its run: they go into the record of runs, beside the notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from workbench.errors import InvalidInput

MIME = "application/vnd.workbench.figure+json"


def record(name: str, value: object) -> None:
    """Record a figure of this run, such as how many bars it fetched; `workbench runs` and notebook 08 show it.

    Called in a cell. The same name again replaces the figure. Raises `InvalidInput` for what is no number, text, truth
    value or None.
    """
    from IPython.display import display

    plain = value.item() if hasattr(value, "item") else value  # a number of numpy's
    if not isinstance(plain, int | float | str | bool | None) or (
        isinstance(plain, float) and not math.isfinite(plain)
    ):
        raise InvalidInput(f"{name}: {value!r} cannot be recorded; a finite number, a text, True, False or None can")
    display({MIME: {"name": str(name), "value": plain}, "text/plain": f"{name}: {plain}"}, raw=True)


def read_figures(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that an executed notebook recorded, the last of each name."""
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", ()))
    told = (output["data"][MIME] for output in outputs if MIME in output.get("data", {}))
    return {figure["name"]: figure["value"] for figure in told}
