"""Commands that look for what is wrong with the stored bars, and decide about those that were held back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import FAILED, GatewayOption, app
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from workbench.store.quality import QualityReport
    from workbench.store.verdict import Verdict

TimeframesOption = Annotated[
    list[str] | None,
    typer.Option("--timeframe", "-t", help="5sec 1min 5min 15min 1hour 4hour 1day; may be repeated."),
]

CHECK_EXAMPLES = """Example: `workbench check`

One series, and mend it: `workbench check AAPL -t 15min --since 2026-01-01 --fix`

In a script: `workbench check || echo look at it`
"""


@app.command(epilog=CHECK_EXAMPLES)
def check(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means all that are stored.")] = None,
    *,
    timeframe: TimeframesOption = None,
    since: Annotated[str | None, typer.Option(help="Tell nothing that ended before this date.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Expect nothing from this date on; else now, or the end of simulated bars.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Fetch again what is wrong, and just that.")] = False,
    gateway: GatewayOption = "",
) -> None:
    """Look for gaps, missing and wrong bars, and timeframes that disagree.

    Exit code 0: nothing was found; 1: something was. Where nobody traded there is no bar, and that is no finding.
    """
    from workbench.app import open_workbench

    with open_workbench(gateway) as desk:
        looking = sys.stderr.isatty()
        report = desk.check(symbols or (), timeframe or (), since=since, as_of=as_of, progress=looking)
        if fix and any(one.is_refetched for one in report.findings):
            for fetched in desk.repair(report, progress=looking):
                typer.echo(fetched)
            report = desk.check(symbols or (), timeframe or (), since=since, as_of=as_of, progress=looking)
        if not report.checked:
            raise InvalidInput(
                f"nothing of that is stored in {desk.store.data_dir}, so nothing was checked; backfill first"
            )
        _print_findings(report)
    if not report.is_clean:
        raise typer.Exit(FAILED)


REVIEW_EXAMPLES = """Example: `workbench review`

They are true: `workbench review AAPL -t 1day --accept`

One of them is a bad print: `workbench review AAPL -t 15min --at 2026-11-20T15:30Z --drop`

It was a halt, there are no bars: `workbench review AAPL -t 1min --at 2026-11-20T15:05Z --accept`
"""


@app.command(epilog=REVIEW_EXAMPLES)
def review(
    symbol: Annotated[str, typer.Argument(help="Whose bars; none lists all that are held back.")] = "",
    *,
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="Which of its series.")] = "",
    at: Annotated[
        list[str] | None,
        typer.Option(help="Start of the bar: 2026-11-20T15:30Z, or the date of a daily one; else all held back."),
    ] = None,
    accept: Annotated[bool, typer.Option("--accept", help="They are true: store them.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="They are wrong: leave them out, and do without.")] = False,
    what_to_show: Annotated[str, typer.Option(help="TRADES, MIDPOINT, BID or ASK.")] = "TRADES",
    gateway: GatewayOption = "",
) -> None:
    """Show the bars that were held back at the door, and decide about them.

    A bar that sticks out of those beside it, or lies outside of its session, is held back and not stored. Its time
    stays a gap, so the next backfill asks for it again; one that comes back otherwise needs no decision. To accept a
    time at which no bar starts, as a check tells it, is to say that nobody traded from there to the next bar.
    """
    from workbench.app import open_workbench
    from workbench.market.sessions import parse_bound
    from workbench.market.timeframes import parse_timeframe
    from workbench.store.quiet import accept_quiet, without_bars
    from workbench.store.verdict import judge

    if accept and drop:
        raise InvalidInput("a bar is accepted or dropped, not both")
    with open_workbench(gateway) as desk:
        if not (accept or drop):
            _print_waiting(desk.store.review.load(), symbol, timeframe)
            return
        if not (symbol and timeframe):
            raise InvalidInput("say whose bars: workbench review AAPL -t 1day --accept")
        starts = [parse_bound(text, parse_timeframe(timeframe)) for text in at or ()]
        verdict: Verdict = "accepted" if accept else "dropped"
        quiet = without_bars(desk.store, symbol, timeframe, starts, what_to_show=what_to_show) if accept else []
        for start in quiet:
            span = accept_quiet(desk.store, symbol, timeframe, start, what_to_show=what_to_show)
            typer.echo(f"{symbol} {timeframe}: accepted that there are no bars in {span}")
        starts = [start for start in starts if start not in quiet]
        if starts or not quiet:
            count = judge(desk.store, symbol, timeframe, verdict, starts=starts, what_to_show=what_to_show)
            typer.echo(f"{count} {'bar' if count == 1 else 'bars'} of {symbol} {timeframe} {verdict}")


def _print_findings(report: QualityReport) -> None:
    """Print the findings as a table, then how many there are."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    if report.findings:
        told = [Column(name, overflow="fold") for name in ("what", "next step")]  # paths and commands are never cut
        table = Table("symbol", "timeframe", "kind", *told, box=SIMPLE_HEAD)
        for one in report.findings:
            timeframe = one.timeframe if one.what_to_show == "TRADES" else f"{one.timeframe} {one.what_to_show}"
            table.add_row(one.symbol, timeframe, one.kind, escape(one.what), escape(one.step))
        Console().print(table)
    typer.echo(report)


def _print_waiting(rows: pd.DataFrame, symbol: str, timeframe: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    waiting = rows[rows["judgement"] == "held back"]
    waiting = waiting[(waiting["symbol"] == symbol) | (not symbol)]
    waiting = waiting[(waiting["timeframe"] == timeframe) | (not timeframe)]
    if waiting.empty:
        typer.echo("No bars are held back.")
        return
    whole = [Column(name, no_wrap=True) for name in ("series", "start (UTC)")]  # what --at takes is never cut
    table = Table(*whole, "open", "high", "low", "close", "why", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for _, row in waiting.iterrows():
        prices = [f"{row[name]:g}" for name in ("open", "high", "low", "close")]
        is_daily = row["timeframe"] == "1day"
        start = f"{row['timestamp']:%Y-%m-%d}" if is_daily else f"{row['timestamp']:%Y-%m-%dT%H:%M:%SZ}"
        price = "" if row["what_to_show"] == "TRADES" else f" {row['what_to_show']}"
        table.add_row(f"{row['symbol']} {row['timeframe']}{price}", start, *prices, escape(row["reason"]))
    Console().print(table)
    typer.echo("Decide: workbench review SYMBOL -t TIMEFRAME --accept, or --drop; --at START for one of them.")
