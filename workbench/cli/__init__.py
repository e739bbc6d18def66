"""The command `workbench`: one module a group of commands. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys

import typer

from workbench.cli import (
    board,
    check,
    closing,
    data,
    db,
    doctor,
    exchanging,
    gateway,
    keeping,
    live,
    notebooks,
    schedule,
    screen,
    store,
    universe,
)
from workbench.cli.base import FAILED, INTERRUPTED, UNUSABLE, app
from workbench.errors import InvalidInput, WorkbenchError

__all__ = [
    "app",
    "board",
    "check",
    "closing",
    "data",
    "db",
    "doctor",
    "exchanging",
    "gateway",
    "keeping",
    "live",
    "main",
    "notebooks",
    "schedule",
    "screen",
    "store",
    "universe",
]


def main() -> None:
    """Run the command line; an error of ours is one sentence on standard error, not a traceback."""
    try:
        app()
    except WorkbenchError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(UNUSABLE if isinstance(error, InvalidInput) else FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
