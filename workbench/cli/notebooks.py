"""Commands that run notebooks."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from workbench.cli.base import FAILED, app
from workbench.cli.data import print_series
from workbench.errors import AlreadyRuns, InvalidInput, InvalidParameters, RunFailed

DEMO = ("01-backfill-history", "02-explore-indicators")


@app.command(
    epilog="Example: `workbench run 01-backfill-history -p symbols=AAPL,MSFT -p since=2025-01-01`, "
    "`workbench run --job screen`"
)
def run(
    name: Annotated[str, typer.Argument(help="Name of the notebook, or its number.")] = "",
    *,
    job: Annotated[
        str, typer.Option(help="Run a job of workbench.toml instead, with its parameters, its limits and a record.")
    ] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
    parameters: Annotated[bool, typer.Option("--parameters", help="List the notebook's parameters.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which the run is ended.")] = None,
    memory: Annotated[int | None, typer.Option(metavar="MB", help="Memory above which the run is ended.")] = None,
) -> None:
    """Execute a notebook headlessly; the executed one is kept under papermill_runs/, even when a cell fails.

    Ends with 0 when every cell succeeded, 1 when one failed or a limit was passed, 2 when nothing could be started,
    130 and 143 after Ctrl-C and SIGTERM, which end the run in good order.
    """
    from workbench.pipeline.notebooks import Limits, find_notebook, read_parameters, run_notebook
    from workbench.settings import load_settings

    if bool(job) == bool(name):
        raise InvalidInput("say which notebook, as in workbench run 03-check-data, or which job: --job screen")
    signals = Signals()
    if job:
        if parameter or parameters or timeout or memory:
            raise InvalidInput("a job has its parameters and limits in workbench.toml; --job takes no other option")
        _run_job(job, signals)
        return
    settings = load_settings()
    notebook = find_notebook(name, settings.notebooks_dir)
    if parameters:
        for one in read_parameters(notebook):
            typer.echo(f"{one.name}: {one.type} = {one.default!r}  {one.help}")
        return
    try:
        with _cell_progress(notebook.stem) as on_cell:
            result = run_notebook(
                notebook,
                _pairs(parameter or []),
                settings.runs_dir,
                limits=Limits(timeout_s=timeout, memory_mb=memory, stopping=signals.stopping),
                secrets=settings.secrets,
                on_cell=on_cell,
            )
    except RunFailed as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(signals.exit_code or FAILED) from None
    typer.echo(f"{notebook.stem}: {result.cells} cells in {result.seconds:.1f} s, {result.output}")


def _run_job(name: str, signals: Signals) -> None:
    """Run a job now, with its record, as another engine than `workbench schedule` does."""
    from workbench.app import open_workbench

    with open_workbench() as desk:
        number = desk.pipeline.run_now(name, signals.stopping)
        if number is None:
            raise AlreadyRuns(f"{name} runs already, here or elsewhere: nothing was started; see workbench runs")
        [row] = desk.runs.load(run_id=number).to_dict("records")
    typer.echo(f"{name}, run {number}: {row['outcome']}, {row['output_path']}")
    if row["outcome"] != "succeeded":
        raise typer.Exit(signals.exit_code or FAILED)


class Signals:
    """Ctrl-C and SIGTERM: they ask a run to end in good order, and make its exit code."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.exit_code = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: object) -> None:
        self.exit_code = 128 + number
        self.stopping.set()


@app.command(epilog="Example: `workbench demo`")
def demo() -> None:
    """Run the main job once on the built-in gateway: backfill, store, indicators, figures."""
    from workbench.app import open_workbench
    from workbench.pipeline.notebooks import find_notebook, run_notebook

    with open_workbench("built-in") as desk:
        settings = desk.settings
        typer.echo("The built-in gateway plays a simulated market; nothing here needs an IB account.")
        runs = []
        for name in DEMO:
            with _cell_progress(name) as on_cell:
                notebook = find_notebook(name, settings.notebooks_dir)
                runs.append(run_notebook(notebook, {"gateway": "built-in"}, settings.runs_dir, on_cell=on_cell))
            typer.echo(f"{name}: {runs[-1].cells} cells in {runs[-1].seconds:.1f} s")
        typer.echo(f"\nStored in {settings.market_dir}, from {desk.store.source} (times in UTC):")
        print_series(desk.store.series())
    typer.echo("\nThe executed notebooks, with their figures:")
    for one in runs:
        typer.echo(f"  {one.output}")
    typer.echo("\nNext: `make lab` opens JupyterLab on the notebooks; `workbench --help` lists the commands.")


def _pairs(texts: list[str]) -> dict[str, str]:
    """Return `name=value` texts as a mapping."""
    split = [text.partition("=") for text in texts]
    malformed = [name for name, equals, _ in split if not (equals and name)]
    if malformed:
        raise InvalidParameters(f"{malformed[0]!r} is not NAME=VALUE; write for example -p symbols=AAPL,MSFT")
    return {name: value for name, _, value in split}


@contextmanager
def _cell_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Give what to call with the number of cells done and their total; on a terminal it draws a bar."""
    from tqdm import tqdm

    with tqdm(desc=name, unit="cell", total=0, disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
