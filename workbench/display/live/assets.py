"""What runs in the browser: the bundle that was built with the package, or a small script that shows a picture."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
BUILT = _HERE / "static"
"""Made by `build.py` when the package is installed; not in the repository."""

NOT_BUILT = "not-built.txt"


def script() -> str:
    """Return the script of the live chart; without the bundle, the one that shows the static picture."""
    bundle = BUILT / "chart.js"
    return (bundle if bundle.is_file() else _HERE / "src" / "picture.js").read_text(encoding="utf-8")


def style_sheet() -> str:
    """Return the style sheet."""
    return (_HERE / "src" / "chart.css").read_text(encoding="utf-8")


def why_not() -> str:
    """Return why there is no live chart, and what to do about it; empty when there is one."""
    if (BUILT / "chart.js").is_file():
        return ""
    told = BUILT / NOT_BUILT
    reason = told.read_text(encoding="utf-8").strip() if told.is_file() else "the bundle was not built"
    return f"No live chart: {reason}. This picture stands still; install workbench again where npm packages can be had."
