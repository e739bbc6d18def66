"""Commands that renew, thin out, save and restore what is stored."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.base import GatewayOption, app
from workbench.errors import InvalidInput


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


@app.command(epilog="Example: `workbench backup /mnt/backup/bars`")
def backup(
    target: Annotated[Path, typer.Argument(help="A folder outside of the store.")], *, gateway: GatewayOption = ""
) -> None:
    """Copy the store into a folder, and verify it; what is there from an earlier backup is not copied again."""
    from tqdm import tqdm

    from workbench.app import open_workbench
    from workbench.store.backup import backup as copy

    with open_workbench(gateway) as desk, tqdm(disable=None, unit="symbol", desc="backup", total=0) as bar:

        def on_symbol(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = copy(desk.store, target, on_symbol)
    typer.echo(report)


@app.command(epilog="Example: `workbench restore /mnt/backup/bars`")
def restore(
    source: Annotated[Path, typer.Argument(help="The folder of a backup.")], *, gateway: GatewayOption = ""
) -> None:
    """Make the store of a backup, after verifying every file; refused where a store is already."""
    from workbench.app import open_workbench
    from workbench.store.backup import restore as copy_back

    with open_workbench(gateway) as desk:
        typer.echo(copy_back(source, desk.store.data_dir))
        desk.store.reindex()


@app.command(epilog="Example: `workbench drop 5sec --older-than 90d`, `workbench drop 1min SPY --older-than 2y --yes`")
def drop(
    timeframe: Annotated[str, typer.Argument(help="5sec 1min 5min 15min 1hour 4hour 1day.")],
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means all that is stored.")] = None,
    *,
    older_than: Annotated[str, typer.Option("--older-than", metavar="AGE", help="90d, 12w or 2y.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    gateway: GatewayOption = "",
) -> None:
    """Let the old bars of a timeframe go. IB keeps bars up to 30 seconds for six months: it may not have them again."""
    from workbench.app import open_workbench
    from workbench.market.timeframes import parse_timeframe
    from workbench.store.quality import known_until

    length, age = str(parse_timeframe(timeframe)), _age(older_than)
    with open_workbench(gateway) as desk:
        before = known_until(desk.store) - age
        old = [
            one
            for one in desk.store.series()
            if one.timeframe == length and (not symbols or one.symbol in symbols) and one.first and one.first < before
        ]
        if not old:
            typer.echo(f"no {length} bars before {before:%Y-%m-%d}")
            return
        if not yes:
            typer.confirm(
                f"let the {length} bars of {len(old)} series before {before:%Y-%m-%d} in {desk.store.data_dir} go?",
                abort=True,
            )
        dropped = sum(desk.store.drop_before(one.symbol, length, before, what_to_show=one.what_to_show) for one in old)
    typer.echo(f"{dropped:,} {length} bars of {len(old)} series are gone")


def _age(text: str) -> timedelta:
    """Return a span such as 90d, 12w or 2y. Raises `InvalidInput`."""
    days = {"d": 1, "w": 7, "y": 365}
    if not (text[:-1].isdigit() and text[-1:] in days):
        raise InvalidInput(f"{text!r} is no age; write 90d, 12w or 2y")
    return timedelta(days=int(text[:-1]) * days[text[-1]])
