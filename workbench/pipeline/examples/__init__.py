"""Other engines that may run the jobs, as files that need no change: for systemd, for cron, for Prefect."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from workbench.errors import InvalidInput


def example(name: str, folder: Path) -> str:
    """Return the file by which an engine runs the jobs of a project's folder. Raises `InvalidInput`."""
    found = {path.name.removesuffix(".txt"): path for path in files(__name__).iterdir() if path.name.endswith(".txt")}
    if name not in found:
        raise InvalidInput(f"there is no example for {name}; there are {', '.join(sorted(found))}")
    text = found[name].read_text(encoding="utf-8")
    return text.replace("@FOLDER@", str(folder.resolve())).replace("@PYTHON@", sys.executable)
