"""Notebooks, found by name and run headlessly.

One process a run (`execute.py`): papermill changes the working directory of its whole process, stalls the loop
it runs on, and a kernel that crashes takes nobody along. What the run is doing is written cell by cell to a
hidden file, and this gets its name, `papermill_runs/2026-11-20/01-backfill-history-160501.ipynb`, when the run has
ended, well or badly. The exit code of the process decides whether it went well.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from workbench.errors import InvalidParameters, RunFailed, UnknownNotebook
from workbench.pipeline.output import publish_left_over, reserve, rewrite
from workbench.pipeline.parameters import Json, Parameter, check_parameters, read_parameters
from workbench.pipeline.process import Limits, RunProcess
from workbench.pipeline.secrets import redact

__all__ = [
    "Json",
    "Limits",
    "Parameter",
    "RunResult",
    "check_parameters",
    "find_notebook",
    "read_parameters",
    "run_notebook",
]


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run in which every cell succeeded: the executed notebook, its cells, how long it took, what it recorded."""

    output: Path
    cells: int
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)


# -- by name


def find_notebook(name: str, folder: Path) -> Path:
    """Find the notebook that `name` means among those in `folder`.

    `01-backfill-history` may be called so, with `.ipynb`, by its words (`backfill-history`), its number (`01`)
    or the beginning of either, as long as one notebook only begins so. The path of an existing notebook is
    itself. Raise `UnknownNotebook`, which names the near ones.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    wanted = name.removesuffix(".ipynb").lower()
    notebooks = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
    names = {path: _names(path) for path in notebooks}
    exact = [path for path in notebooks if wanted in names[path]]
    begun = [path for path in notebooks if wanted and any(known.startswith(wanted) for known in names[path])]
    found = exact or begun
    if len(found) == 1:
        return found[0]
    raise UnknownNotebook(_not_found(name, folder, found, notebooks))


def _names(path: Path) -> list[str]:
    """Return the names a notebook goes by: whole, its number, its words."""
    number, _, words = path.stem.lower().partition("-")
    return [path.stem.lower(), number, words] if number.isdigit() and words else [path.stem.lower()]


def _not_found(name: str, folder: Path, found: list[Path], notebooks: list[Path]) -> str:
    if not notebooks:
        setting = "notebooks_dir in workbench.toml, or WORKBENCH_NOTEBOOKS_DIR"
        return f"There is no notebook in {folder}; work in the project's folder, or name theirs by {setting}."
    if found:
        return f"{name} may be any of {', '.join(path.stem for path in found)}."
    known = {known: path.stem for path in notebooks for known in _names(path)}
    near = dict.fromkeys(known[match] for match in difflib.get_close_matches(name.lower(), known))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(p.stem for p in notebooks)}."
    return f"There is no notebook {name} in {folder}; {hint}"


# -- a run


def run_notebook(
    path: Path,
    parameters: Mapping[str, object],
    output_folder: Path,
    *,
    name: str | None = None,
    started: datetime | None = None,
    session: date | None = None,
    limits: Limits = NO_LIMITS,
    secrets: Collection[str] = (),
    on_output: Callable[[Path], None] | None = None,
    on_cell: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Execute the notebook at `path` in a process of its own; return when it has ended.

    The executed notebook is `<output_folder>/<session>/<name>-<HHMMSS>.ipynb`, its page for browsers `.html` beside
    it: `session` is the date of `started` unless given, `started` is now unless given, `name` that of the notebook.
    Relative paths in its cells are relative to the working directory of the caller. `secrets` are taken out of what the
    notebook and its errors say. `on_output` is called with the executed notebook's path before anything runs,
    `on_cell(done, total)` with the number of code cells executed, first with 0 as soon as the kernel stands.

    Raise `InvalidParameters` before anything is started or written. Raise `RunFailed` when a cell fails, the
    kernel dies or a limit is passed; the executed notebook is kept. On Ctrl-C the kernel is
    shut down and the notebook kept before KeyboardInterrupt goes on its way.
    """
    try:
        values = check_parameters(read_parameters(path), parameters)
    except InvalidParameters as problem:
        raise InvalidParameters(f"Parameters of {path.stem} that cannot be used:\n{problem}") from None
    started = started or datetime.now().astimezone()
    folder = output_folder / str(session or started.date())
    part, output = reserve(folder, f"{name or path.stem}-{started:%H%M%S}")
    begin = time.monotonic()
    request = {
        "source": str(path),
        "part": str(part),
        "output": str(output),
        "parameters": values,
        "secrets": [*secrets],
    }
    try:
        rewrite(part, path.read_text(encoding="utf-8"))
        (on_output or _ignore)(output)
        with RunProcess(request) as run:
            succeeded = run.follow(on_cell or _ignore, limits)
    except BaseException as interruption:
        interruption.add_note(f"The notebook as far as it came: {output}")
        raise
    finally:
        publish_left_over(part, output)
    if not succeeded:
        error = redact(run.error, secrets)
        raise RunFailed(
            f"{path.stem} failed {run.place}: {error}\nThe executed notebook: {output}",
            output=output,
            place=run.place,
            error=error,
            figures=run.figures,
        )
    return RunResult(output, run.cells, time.monotonic() - begin, run.figures)


def _ignore(*_: object) -> None: ...
