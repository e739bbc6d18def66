"""Commands that renew, thin out, save and restore what is stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.base import GatewayOption, app


@app.command(epilog="Example: `workbench rebuild LDOS`")
def rebuild(
    symbols: Annotated[list[str], typer.Argument(help="Symbols whose stored bars IB tells otherwise now.")],
    *,
    gateway: GatewayOption = "",
) -> None:
    """Fetch all that is stored of a symbol anew, and let it take the place of the old as one step.

    A backfill does so by itself where it finds a split; this is for what it only reports, as a spin-off.
    """
    from workbench.app import open_workbench

    with open_workbench(gateway) as desk:
        for symbol in symbols:
            typer.echo(desk.rebuild(symbol, progress=sys.stderr.isatty()))


@app.command(epilog="Example: `workbench backup /mnt/backup/bars`")
def backup(target: Annotated[Path, typer.Argument(help="A folder outside of the store.")]) -> None:
    """Copy the store into a folder, and verify it; what is there from an earlier backup is not copied again."""
    from tqdm import tqdm

    from workbench.app import open_workbench
    from workbench.store.backup import backup as copy

    with open_workbench() as desk, tqdm(disable=None, unit="symbol", desc="backup", total=0) as bar:

        def on_symbol(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = copy(desk.store, target, on_symbol)
    typer.echo(report)


@app.command(epilog="Example: `workbench restore /mnt/backup/bars`")
def restore(source: Annotated[Path, typer.Argument(help="The folder of a backup.")]) -> None:
    """Make the store of a backup, after verifying every file; refused where a store is already."""
    from workbench.app import open_workbench
    from workbench.store.backup import restore as copy_back

    with open_workbench() as desk:
        typer.echo(copy_back(source, desk.store.data_dir))
        desk.store.reindex()
