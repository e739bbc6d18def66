"""The command that records live bars."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import FAILED, GatewayOption, app, fitted

if TYPE_CHECKING:
    from workbench.ib.live.session import LiveSession

_LOOK_S = 1.0
_LINE_EVERY = 60
"""Where there is no terminal, a line a minute."""


@app.command(epilog="Example: `workbench live AAPL MSFT SPY`, `workbench live SPY --follow-watchlist`")
def live(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means the whole universe.")] = None,
    *,
    follow_watchlist: Annotated[
        bool, typer.Option("--follow-watchlist", help="The symbols given, then the watchlist, as it is replaced.")
    ] = False,
    gateway: GatewayOption = "",
    seconds: Annotated[float, typer.Option(help="End after so many seconds; 0 goes on until Ctrl-C.")] = 0.0,
) -> None:
    """Record live five-second bars, and show how it goes, until Ctrl-C or SIGTERM.

    Each bar is in the database within a second of its arrival, where any other process can follow it. What was missed
    is filled from history. Ends with 1 when gaps could not be filled, when IB does not know a symbol, or when recording
    was ended by a failure.
    """
    from workbench.app import open_workbench

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with open_workbench(gateway) as desk:
        recording = desk.live
        if follow_watchlist:
            desk.follow_watchlist(symbols or ())
        else:
            recording.start(symbols or list(desk.universe))
        _watch(recording, stopping, seconds)
        recording.stop()
        status = recording.status()
        recorded = status.counts.received + status.counts.filled if status.counts else 0
        typer.echo(f"ended: {recorded} bars recorded, {len(status.unfilled)} gaps not filled")
        if recording.error is not None:
            raise recording.error
        if status.unknown:
            typer.echo(f"not recorded, for IB does not know them: {', '.join(status.unknown)}")
        if status.unfilled or status.unknown:
            raise typer.Exit(FAILED)


def _watch(recording: LiveSession, stopping: threading.Event, seconds: float) -> None:
    """Show the status until there is a reason to end."""
    passed = 0
    while recording.is_running and not stopping.wait(min(_LOOK_S, seconds - passed) if seconds else _LOOK_S):
        passed += 1
        if seconds and passed >= seconds:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{fitted(str(recording.status()), shutil.get_terminal_size().columns - 1)}")
            sys.stderr.flush()
        elif passed % _LINE_EVERY == 1:
            typer.echo(recording.status(), err=True)
    if sys.stderr.isatty():
        sys.stderr.write("\n")
