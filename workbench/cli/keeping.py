"""Commands that renew, thin out, save and restore what is stored."""

from __future__ import annotations

import sys
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
