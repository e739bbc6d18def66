"""The command that saves live sessions after their end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import FAILED, INTERRUPTED, GatewayOption, app

if TYPE_CHECKING:
    import pandas as pd

    from workbench.ib.closing import SessionReport

_MOST_ROWS = 40
_RARE = ("price", "far", "volume", "missing", "extra", "partial", "widest", "provisional")
"""Columns that are left out where there is nothing in them."""

EXAMPLES = """Example: `workbench save-session`

One session, some symbols: `workbench save-session --session 2026-11-20 --symbol AAPL --symbol MSFT`

IB has no history of it: `workbench save-session --session 2026-11-20 --provisional`
"""


@app.command("save-session", epilog=EXAMPLES)
def save_session(
    *,
    session: Annotated[str, typer.Option(metavar="DATE", help="One session; else all that have ended.")] = "",
    symbols: Annotated[
        list[str] | None, typer.Option("--symbol", "--symbols", "-s", help="Only these; may be repeated.")
    ] = None,
    provisional: Annotated[
        bool,
        typer.Option("--provisional", help="Store bars as they were built live where IB has no history of them."),
    ] = False,
    gateway: GatewayOption = "",
) -> None:
    """Save live sessions that have ended: IB's history takes the place of what was built live.

    Fetches five-second bars and all timeframes, counts where the live ones differ, and removes a session from the
    journal when the store has it whole: a quarter of an hour after the close, when IB revises it no more. What is open
    stays in the journal, with the reason. Call it again as often as you like, also after it was killed, and while the
    next session is being recorded.

    Exit code 0: all that has ended is saved; 1: something is open.
    """
    from workbench.app import open_workbench

    with open_workbench(gateway) as desk:
        report = desk.save_session(
            session or None, symbols or (), provisional=provisional, progress=sys.stderr.isatty()
        )
    print_sessions(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.open:
        raise typer.Exit(FAILED)


def print_sessions(report: SessionReport) -> None:
    """Print where live bars differ from history, by symbol and timeframe, then what is open."""
    frame = report.to_frame()
    if len(frame):
        by_timeframe = frame.groupby("timeframe", sort=False).sum(numeric_only=True).drop(columns=["widest", "saved"])
        _print(by_timeframe.reset_index(), "all symbols")
    differing = frame[frame[["price", "volume", "missing", "extra", "provisional"]].any(axis=1)]
    if len(differing):
        _print(differing.head(_MOST_ROWS).drop(columns="saved"), "where live bars differ from history")
        if len(differing) > _MOST_ROWS:
            typer.echo(f"and {len(differing) - _MOST_ROWS} rows more; notebook 06-save-session shows all")
    typer.echo(report)


def _print(frame: pd.DataFrame, title: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    frame = frame.drop(columns=[name for name in _RARE if name in frame and not frame[name].any()])
    if "session" in frame and frame["session"].nunique() == 1:
        title = f"{title}, {frame['session'].iloc[0]}"
        frame = frame.drop(columns="session")
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for name in frame.columns:
        table.add_column(name, justify="left" if name in ("session", "symbol", "timeframe") else "right")
    for row in frame.itertuples(index=False):
        table.add_row(*[_text(value) for value in row])
    Console().print(table)


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4%}" if isinstance(value, float) else str(value)
