"""Commands that bring bars in from files and out to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli.base import GatewayOption, app
from workbench.errors import InvalidInput


@app.command(
    "import",
    epilog="Example: `workbench import bars/ -t 1min --zone America/New_York --stamps end --dry-run`, "
    "`workbench import AAPL.csv -t 1day --column timestamp=Date --column volume=Vol`",
)
def import_(
    path: Annotated[Path, typer.Argument(help="A CSV or parquet file, or a folder of them.")],
    *,
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="5sec 1min 5min 15min 1hour 4hour 1day.")],
    zone: Annotated[str, typer.Option(help="Time zone of times without one, as America/New_York.")] = "",
    stamps: Annotated[Literal["start", "end"], typer.Option(help="What the times mark of a bar.")] = "start",
    column: Annotated[list[str] | None, typer.Option(metavar="OURS=THEIRS", help="Which column is which.")] = None,
    symbol: Annotated[str, typer.Option(help="Of all bars; else a column, the folder or the file tells it.")] = "",
    source: Annotated[str, typer.Option(help="Where the bars come from; never mixed with another.")] = "import",
    what_to_show: Annotated[
        str, typer.Option(help="TRADES, MIDPOINT, BID or ASK; else the file's name, or TRADES.")
    ] = "",
    extended_hours: Annotated[bool, typer.Option("--extended-hours", help="Before and after hours too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what was understood, and store nothing.")] = False,
    gateway: GatewayOption = "",
) -> None:
    """Store bars from CSV and parquet files. A data folder that holds IB's bars takes none: choose another."""
    from tqdm import tqdm

    from workbench.app import open_workbench
    from workbench.market.timeframes import parse_timeframe
    from workbench.store.exchange import Layout, find_files, save, understand
    from workbench.store.merge import SaveReport

    layout = Layout(parse_timeframe(timeframe), zone, stamps, _mapped(column or ()), symbol, what_to_show)
    total = SaveReport()
    with open_workbench(gateway) as desk:
        for file in tqdm(find_files(path), disable=None, unit="file", desc="import"):
            for found in understand(file, layout):
                tqdm.write(str(found))
                if not dry_run:
                    total += save(
                        desk.store,
                        found,
                        layout.timeframe,
                        source=source,
                        use_rth=not extended_hours,
                    )
    said = f"{total.added:,} bars added, {total.revised:,} revised, {total.held_back:,} held back for review"
    typer.echo("dry run: nothing was stored" if dry_run else said)


@app.command(epilog="Example: `workbench export AAPL MSFT -t 1day --to out --format csv --since 2024-01-01`")
def export(
    symbols: Annotated[list[str], typer.Argument(help="Symbols.")],
    *,
    timeframe: Annotated[str, typer.Option("--timeframe", "-t", help="5sec 1min 5min 15min 1hour 4hour 1day.")],
    to: Annotated[Path, typer.Option("--to", help="Folder of the files.")],
    format: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="Of the files.")] = "parquet",  # noqa: A002
    since: Annotated[str | None, typer.Option(help="First date; else all.")] = None,
    until: Annotated[str | None, typer.Option(help="Date before which to end.")] = None,
    what_to_show: Annotated[str, typer.Option(help="TRADES, MIDPOINT, BID or ASK.")] = "TRADES",
    gateway: GatewayOption = "",
) -> None:
    """Write stored bars to a file a symbol; times are the bars' starts in UTC."""
    from tqdm import tqdm

    from workbench.app import open_workbench
    from workbench.store.exchange import export as write

    with open_workbench(gateway) as desk:
        files = write(
            desk.store, symbols, timeframe, to, start=since, end=until, kind=format, what_to_show=what_to_show
        )
        for path, count in tqdm(files, disable=None, unit="file", desc="export", total=len(symbols)):
            tqdm.write(f"{path}: {count:,} bars" if count else f"{path} goes with it")


def _mapped(pairs: list[str] | tuple[str, ...]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise InvalidInput(f"--column {pair!r} is not OURS=THEIRS; write --column timestamp=Date")
    return dict(pair.split("=", 1) for pair in pairs)
