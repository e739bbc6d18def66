"""Commands that explain: what a gateway is like, and what IB's codes mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import FAILED, INTERRUPTED, UNUSABLE, GatewayOption, app

if TYPE_CHECKING:
    from workbench.ib.codes import Explanation
    from workbench.ib.doctor import Check

_COLOURS = {"ok": "green", "not known": "cyan", "look at this": "yellow", "problem": "red"}

DOCTOR_EXAMPLES = """Example: `workbench doctor`

TWS on this machine: `workbench doctor --gateway 127.0.0.1:7497`; for a program: `workbench doctor --json`
"""


@app.command(epilog=DOCTOR_EXAMPLES)
def doctor(
    *,
    gateway: GatewayOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one line of JSON.")] = False,
    count_lines: Annotated[
        bool, typer.Option("--count-lines", help="Count the free market data lines: takes all for some seconds.")
    ] = False,
) -> None:
    """Examine a gateway: whether it can be reached, what the account may see, whether it does as is expected.

    Takes half a minute while the market is open. The answers are kept in `doctor.jsonl` beside the data, and what has
    changed since the last time is told. Ends with 1 when there is a problem.
    """
    from workbench.app import open_workbench

    with open_workbench(gateway) as desk, _shown(quiet=as_json) as (on_step, on_check):
        report = desk.doctor(count_lines=count_lines, on_step=on_step, on_check=on_check)
    typer.echo(report.to_json() if as_json else f"\n{report.gateway}: {report.summary()}.")
    if report.changes and not as_json:
        typer.echo("\n".join(report.changes))
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.is_well:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: `workbench explain 162`")
def explain(code: Annotated[int, typer.Argument(help="A code of IB's, as errors show it: IB code 162.")]) -> None:
    """Explain a code of IB's: what it means, why it comes, what to do, and what the workbench does."""
    from workbench.ib.codes import WHERE_TO_LOOK, rows_of

    rows = rows_of(code)
    if not rows:
        typer.secho(f"The workbench has no explanation of IB's code {code}. {WHERE_TO_LOOK}", err=True)
        raise typer.Exit(UNUSABLE)
    if len(rows) > 1:
        typer.echo(f"{code} stands for several things; the text that comes with it tells which.\n")
    for row in rows:
        _print_explanation(row)


def _print_explanation(row: Explanation) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    told = [("told by", " or ".join(f'"… {fragment} …"' for fragment in row.fragments))] if row.fragments else []
    lines = [("meaning", row.meaning), ("cause", row.cause), ("next step", row.next_step)]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row(Text(str(row.code), style="bold"), Text(row.name, style="bold"))
    for label, text in [*told, *lines, ("workbench", row.reaction.value)]:
        table.add_row(f"  {label}", Text(text))
    Console(highlight=False).print(table, "")


@contextmanager
def _shown(*, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[Check], None]]]:
    """Give what shows the step under way, where there is a terminal, and what prints a check when it is made."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    # On one terminal both must come from one console, or the line of progress runs into the rows.
    progress = console if console.is_terminal and not quiet else Console(stderr=True)
    status = progress.status("starting") if progress.is_terminal else None

    def on_step(label: str) -> None:
        if status:
            status.update(f"looking at: {label}")

    def on_check(check: Check) -> None:
        if quiet:
            return
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=12)
        row.add_column(width=17)
        row.add_column()
        found = Text(check.found)
        if check.remedy:
            found.append(f"\n→ {check.remedy}", style="italic")
        row.add_row(Text(check.state.value, style=_COLOURS[check.state.value]), check.name, found)
        console.print(row)

    if status is None:
        yield on_step, on_check
        return
    with status:
        yield on_step, on_check
