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


def fitted(line: str, width: int) -> str:
    """Return a line that a narrow terminal does not wrap: a wrapped one could not be written over.

    >>> fitted("2 of 2 symbols live · no gaps", 16)
    '2 of 2 symbols …'
    """
    return line if len(line) <= width else f"{line[: max(0, width - 1)]}…"
