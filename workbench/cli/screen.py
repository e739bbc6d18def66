"""The command that ranks the universe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import GatewayOption, app

if TYPE_CHECKING:
    import pandas as pd

    from workbench.screening.screen import ScreenResult

SCREEN_EXAMPLES = """Example: `workbench screen --top 20`

As it was: `workbench screen --as-of 2026-11-20`, or `--as-of 2026-11-20T12:00-05:00`

Why is a symbol not in the list: `workbench screen AAPL`
"""


@app.command(epilog=SCREEN_EXAMPLES)
def screen(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means the whole universe.")] = None,
    *,
    as_of: Annotated[
        str | None, typer.Option(help="A date, whose session counts, or a moment with its zone; else now.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many rows to show.", min=1)] = 25,
    save: Annotated[bool, typer.Option("--save", help="Keep the list in the database.")] = False,
    gateway: GatewayOption = "",
) -> None:
    """Rank the stored symbols by how much they look like a momentum reversal, long and short.

    Only bars that were complete at the moment count. What a symbol lacks, and which gate keeps it out, is told.
    Conditions, weights and gates are `[screen]` in workbench.toml.
    """
    from workbench.app import open_workbench

    with open_workbench(gateway) as desk:
        result = desk.screen(symbols or (), as_of=as_of, top=top, save=save)
    if len(result.table):
        _print_table(result)
    _print_rest(result, symbols or [])


def _print_table(result: ScreenResult) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("", "symbol", "side", "score", "why", "since (New York)", box=SIMPLE_HEAD)
    for _, row in result.table.iterrows():
        why = row["why"].split("; ") + ([f"[dim]{row['lacking']}[/dim]"] if row["lacking"] else [])
        since = row["since"].tz_convert("America/New_York")
        cells = [str(row["rank"]), row["symbol"], row["side"], f"{row['score']:.1f}"]
        table.add_row(*cells, "\n".join(why), f"{since:%Y-%m-%d %H:%M}")
    Console().print(table)


def _print_rest(result: ScreenResult, named: list[str]) -> None:
    """Print what is not in the list: of symbols that were named all of it, else how many."""
    from workbench.screening.rules import CONTEXT

    if named:
        for symbol in sorted(set(named) - set(result.table["symbol"]) - set(result.shut["symbol"])):
            typer.echo(f"{symbol}: no condition holds, or --top leaves it out")
        for _, row in result.shut.iterrows():
            typer.echo(f"{row['symbol']}: the gate {row['gate']} is shut ({row['answer']})")
        for _, row in result.lacking.iterrows():
            typer.echo(f"{row['symbol']}: not known at {row['what']}")
    typer.echo(result)
    stale = _symbols(result.lacking[result.lacking["timeframe"] == CONTEXT])
    if stale and not named:
        typer.echo(f"Not known at {CONTEXT}: {stale}. Fetch what is new: workbench backfill")


def _symbols(rows: pd.DataFrame) -> str:
    names = list(dict.fromkeys(rows["symbol"]))
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
