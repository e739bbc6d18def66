"""The process of one run: papermill, one kernel, one notebook.

`process.RunProcess` starts it as `python -m workbench.pipeline.execute DESCRIPTOR` and talks with it over two
pipes. On standard input comes the request, one line of JSON. After that the input is a leash: a further line is
the reason to stop, and its end means that the caller is gone; both end the run in good order, with the kernel shut
down and the notebook kept. To DESCRIPTOR go the reports, one JSON object a line: `kernel`, `cell`, `failed`.
Standard output and error are noise, for kernels and libraries print there what they like. The exit code is 0 only
if every cell succeeded; the notebook's metadata decide nothing, for papermill saves a cell it gave up on, and all
cells after it, as "completed" (put right here).

The kernel is this very interpreter: a kernelspec named `python3` on the machine may be another one, so none is
looked up. Its working directory is the caller's, so that `data/` is found where the command was given.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypedDict, cast

from workbench.pipeline.figures import read_figures
from workbench.pipeline.output import publish, rewrite
from workbench.pipeline.secrets import redact

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

SCHEME = "workbench-part:"
"""Marks an output path for papermill as one to be written atomically."""

TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Request(TypedDict):
    """The first line of the input."""

    source: str
    part: str
    output: str
    parameters: dict[str, Any]
    secrets: list[str]


class Stopped(KeyboardInterrupt):
    """The caller asked for the end of the run. Of this kind, because asyncio lets only this one through."""


class Execution:
    """One run of one notebook, and what it tells the caller."""

    def __init__(self, request: Request, reports: IO[str]) -> None:
        self.request = request
        self.reports = reports
        self.cell: int | None = None
        self.done = self.total = 0
        self.stop_reason = ""

    def report(self, **event: object) -> None:
        """Tell the caller; a caller that is gone is no reason to lose the notebook."""
        try:
            self.reports.write(json.dumps(event) + "\n")
            self.reports.flush()
        except OSError:
            pass

    def run(self, leash: IO[str]) -> bool:
        """Execute and publish the notebook; return whether every cell succeeded."""
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        threading.Thread(target=self._watch, args=(leash,), daemon=True).start()
        error: str | None = None
        try:
            self._execute()
        except Stopped:
            error = self.stop_reason
        except Exception as failure:  # noqa: BLE001  whatever papermill or the kernel raises ends in the report
            error = self._describe(failure)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            self._finish(error)
        except OSError as failure:  # the disk is full: what was written before stays, whole
            self.report(event="failed", place="when the notebook was written", error=error or str(failure))
            return False
        self._write_html()
        return error is None

    def _watch(self, leash: IO[str]) -> None:
        self.stop_reason = leash.readline().strip() or "the program that started the run has ended"
        # To the main thread by name: a signal to the process may reach this thread and wake nobody.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _on_signal(self, number: int, *_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.stop_reason = self.stop_reason or f"stopped by {signal.Signals(number).name}"
        raise Stopped

    def _execute(self) -> None:
        import papermill
        from papermill.iorw import papermill_io
        from traitlets.config import Config

        threading.Thread(target=_import_early, daemon=True).start()
        PartFile.secrets = self.request["secrets"]
        papermill_io.register(SCHEME, PartFile)
        os.environ["WORKBENCH_SHORT_ERRORS"] = "false"  # nobody could ask the kernel for the traceback later
        papermill.execute_notebook(
            _unformatted(self.request["source"]),
            _unformatted(SCHEME + self.request["part"]),
            self.request["parameters"],
            kernel_name="python3",
            language="python",
            progress_bar=False,
            store_widget_state=False,  # of a live chart that would be its program and its history
            kernel_manager_class=_kernel_manager(on_start=lambda pid: self.report(event="kernel", pid=pid)),
            on_notebook_start=self._on_notebook_start,
            on_cell_start=self._on_cell_start,
            on_cell_executed=self._on_cell_executed,
            # Encrypts the kernel's channels: on TCP every user of the machine could listen.
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        )

    def _on_notebook_start(self, notebook: Any) -> None:
        self.total = sum(map(_is_executed, notebook.cells))
        self._report_progress()

    def _on_cell_start(self, cell_index: int, **_: object) -> None:
        self.cell = cell_index

    def _on_cell_executed(self, **_: object) -> None:
        self.done += 1
        self._report_progress()

    def _report_progress(self) -> None:
        self.report(event="cell", done=self.done, total=self.total)

    def _describe(self, failure: Exception) -> str:
        from nbclient.exceptions import DeadKernelError
        from papermill.exceptions import PapermillExecutionError

        if isinstance(failure, PapermillExecutionError):
            self.cell = failure.cell_index + 2  # papermill has put two remarks before it
            return f"{failure.ename}: {failure.evalue}"
        if isinstance(failure, DeadKernelError):
            return "the kernel died (killed, out of memory, or ended by the cell itself)"
        return f"{type(failure).__name__}: {failure}"

    def _finish(self, error: str | None) -> None:
        part, output = Path(self.request["part"]), Path(self.request["output"])
        notebook = json.loads(redact(part.read_text(encoding="utf-8"), self.request["secrets"]))
        notebook["metadata"].setdefault("papermill", {})["output_path"] = str(output)
        if error is not None:
            error = redact(TERMINAL_COLOURS.sub("", error).strip().removesuffix(":"), self.request["secrets"])
            mark_failed(notebook, self.cell, error)
            self.report(event="failed", place=_place(notebook["cells"], self.cell), error=error)
        self.report(event="figures", figures=read_figures(notebook))
        rewrite(part, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        publish(part, output)

    def _write_html(self) -> None:
        from workbench.pipeline.report import write_html

        try:
            write_html(Path(self.request["output"]))
        except Exception as failure:  # noqa: BLE001  a notebook whose page fails is a notebook still
            self.report(event="warning", text=f"no HTML was written: {type(failure).__name__}: {failure}")


class PartFile:
    """How papermill writes the notebook: its own way would leave half of it when the process dies over it."""

    secrets: ClassVar[list[str]] = []

    @classmethod
    def write(cls, text: str, path: str) -> None:
        """Replace the file at `path`."""
        rewrite(Path(path.removeprefix(SCHEME)), redact(text, cls.secrets))

    @classmethod
    def pretty_path(cls, path: str) -> str:
        """Return `path` as papermill logs it."""
        return path.removeprefix(SCHEME)


def mark_failed(notebook: dict[str, Any], index: int | None, error: str) -> None:
    """Let the notebook say what the exit code says: which cell failed, why, and that none after it ran."""
    notebook["metadata"]["papermill"]["exception"] = True
    started = -1 if index is None else index
    for cell in notebook["cells"][started + 1 :]:
        cell["metadata"].setdefault("papermill", {}).update(status="pending", end_time=None, duration=None)
    if index is None or not _is_executed(failed := notebook["cells"][index]):
        return
    failed["metadata"].setdefault("papermill", {}).update(status="failed", exception=True)
    if not any(_error_of(output) == error for output in failed["outputs"]):
        name, _, value = error.partition(": ") if ": " in error else ("RunFailed", "", error)
        failed["outputs"].append({"output_type": "error", "ename": name, "evalue": value, "traceback": [error]})


def _error_of(output: Mapping[str, str]) -> str:
    return f"{output.get('ename')}: {output.get('evalue')}".strip().removesuffix(":")


def _place(cells: list[dict[str, Any]], index: int | None) -> str:
    """Name a cell as the notebook shows it, with its first line: `in cell In [3], "wb = open()"`."""
    if index is None:
        return "before the first cell"
    number = sum(map(_is_executed, cells[: index + 1]))
    lines = "".join(cells[index]["source"]).strip().splitlines()
    return f'in cell In [{number}], "{lines[0] if lines else ""}"'


def _is_executed(cell: Mapping[str, Any]) -> bool:
    return bool(cell["cell_type"] == "code" and "".join(cell["source"]).strip())


def _unformatted(path: str) -> str:
    """Protect a path from papermill, which takes it for a format string."""
    return path.replace("{", "{{").replace("}", "}}")


def _kernel_manager(on_start: Callable[[int], None]) -> type[AsyncKernelManager]:
    """Return a manager whose kernel is this interpreter, and which tells the kernel's process id."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class ThisInterpreter(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _search_nowhere(self) -> KernelSpecManager:
            # With no folder to search, jupyter_client falls back on ipykernel's own spec: sys.executable.
            return KernelSpecManager(kernel_dirs=[])

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]  # as its own parent
            await super().start_kernel(**options)
            on_start(getattr(self.provisioner, "pid", 0) or 0)

    return ThisInterpreter


def _import_early() -> None:
    """Load what writes the page, which takes two seconds, while the kernel starts."""
    import nbconvert.exporters  # noqa: F401


def _spare_a_grammar() -> None:
    """Let jsonschema do without its check of IRIs, which no notebook's schema asks for: a second and a half a run.

    jsonschema takes the package when it is there, and that builds a grammar when it is imported.
    """
    sys.modules.setdefault("rfc3987_syntax", cast("Any", None))  # None makes its import an ImportError


def main() -> int:
    """Execute the request on standard input; exit code 0: every cell succeeded."""
    _spare_a_grammar()
    reports = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    request: Request = json.loads(sys.stdin.readline())
    return 0 if Execution(request, reports).run(leash=sys.stdin) else 1


if __name__ == "__main__":
    sys.exit(main())
