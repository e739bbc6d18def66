"""What all commands share: the application, exit codes, options."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="A research workbench for momentum-reversal traders on Interactive Brokers.",
    epilog="Begin with `workbench demo`. Each command shows examples: `workbench backfill --help`",
)

GatewayOption = Annotated[
    str, typer.Option("--gateway", metavar="HOST:PORT", help="TWS, IB Gateway, or `built-in`; else as in the settings.")
]

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
