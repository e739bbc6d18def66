"""Commands that run notebooks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from workbench.cli.base import app
from workbench.cli.data import print_series
from workbench.errors import InvalidParameters

DEMO = ("01-backfill-history", "02-explore-indicators")


@app.command(epilog="Example: `workbench run 01-backfill-history -p symbols=AAPL,MSFT -p since=2025-01-01`")
def run(
    name: Annotated[str, typer.Argument(help="Name of the notebook, or its number.")],
    *,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
    parameters: Annotated[bool, typer.Option("--parameters", help="List the notebook's parameters.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which the run is ended.")] = None,
    memory: Annotated[int | None, typer.Option(metavar="MB", help="Memory above which the run is ended.")] = None,
) -> None:
    """Execute a notebook headlessly; the executed one is kept under papermill_runs/, even when a cell fails."""
    from workbench.pipeline.notebooks import Limits, find_notebook, read_parameters, run_notebook
    from workbench.settings import load_settings

    settings = load_settings()
    notebook = find_notebook(name, settings.notebooks_dir)
    if parameters:
        for one in read_parameters(notebook):
            typer.echo(f"{one.name}: {one.type} = {one.default!r}  {one.help}")
        return
    with _cell_progress(notebook.stem) as on_cell:
        result = run_notebook(
            notebook,
            _pairs(parameter or []),
            settings.runs_dir,
            limits=Limits(timeout_s=timeout, memory_mb=memory),
            secrets=settings.secrets,
            on_cell=on_cell,
        )
    typer.echo(f"{notebook.stem}: {result.cells} cells in {result.seconds:.1f} s, {result.output}")


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
