"""The command that opens the board alone in a browser."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli.base import GatewayOption, app

NOTEBOOK = "05-stream-live"


@app.command(
    epilog="Example: `workbench board`, `workbench board AAPL MSFT --style dark`, `workbench board --viewer` beside "
    "`workbench live --follow-watchlist`"
)
def board(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols shown always; none: the notebook's.")] = None,
    *,
    viewer: Annotated[
        bool, typer.Option("--viewer", help="Record nothing: show what another process records.")
    ] = False,
    gateway: GatewayOption = "",
    style: Annotated[Literal["light", "dark"], typer.Option(help="Colours of the page.")] = "light",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes any that is free.")] = 8866,
    data_dir: Annotated[Path | None, typer.Option(help="Where data are kept; else as in the settings.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open nothing.")] = False,
) -> None:
    """Show the board of the notebook 05-stream-live alone in a browser, on this machine only, until Ctrl-C.

    Each page has a kernel of its own. When it is left, the kernel and what it records end with it; for recording that
    goes on, use `workbench live` or the scheduler, and look at it with `--viewer`.
    """
    from workbench.display.page.server import serve_page
    from workbench.market.contracts import check_symbol
    from workbench.pipeline.notebooks import check_parameters, find_notebook, read_parameters
    from workbench.settings import load_settings

    if data_dir is not None:
        os.environ["WORKBENCH_DATA_DIR"] = str(data_dir.absolute())  # for the kernels
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf to it
    settings = load_settings(gateway=gateway)
    for symbol in symbols or ():
        check_symbol(symbol)
    notebook = find_notebook(NOTEBOOK, settings.notebooks_dir)
    given = {"symbols": symbols, "viewer": viewer or None, "gateway": gateway, "style": style}
    values = check_parameters(read_parameters(notebook), {name: told for name, told in given.items() if told})
    serve_page(notebook, values, port=port, open_browser=not no_browser, theme=style, say=_say)


def _say(address: str) -> None:
    typer.echo(f"The board: {address}\nCtrl-C ends it, and what its pages record.")
