"""The command `workbench`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.errors import InvalidInput, InvalidParameters, WorkbenchError

if TYPE_CHECKING:
    from workbench.store.series import SeriesInfo

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
DEMO = ("01-backfill-history", "02-explore-indicators")


def main() -> None:
    """Run the command line; an error of ours is one sentence on standard error, not a traceback."""
    try:
        app()
    except WorkbenchError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(UNUSABLE if isinstance(error, InvalidInput) else FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


GATEWAY_EXAMPLES = """Example: `workbench gateway --port 4002 --start 2026-11-20T09:25 --speed 10`

A session from your own store: `workbench gateway --tape data/historical/stocks --start 2026-11-20T09:25`

As slow and as strict as IB: `workbench gateway --rules ib --latency 2`
"""


@app.command(epilog=GATEWAY_EXAMPLES)
def gateway(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one and prints it.")
    ] = 4002,
    tape: Annotated[str, typer.Option(help="`simulated`, or a FOLDER of bars: SYMBOL/TIMEFRAME.parquet")] = "simulated",
    start: Annotated[str | None, typer.Option(help="Exchange time at which its clock starts; else now.")] = None,
    speed: Annotated[float, typer.Option(help="How many times faster than real time, up to 1000.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Which simulated market.")] = 1,
    splits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with symbol,date,ratio: earlier bars are adjusted from then on."),
    ] = None,
    revise: Annotated[
        float, typer.Option(help="Let history differ from the stream by up to this share, as 0.01.")
    ] = 0.0,
    faults: Annotated[Path | None, typer.Option(metavar="FILE", help="A script of what goes wrong, see above.")] = None,
    rules: Annotated[
        str,
        typer.Option(
            help="`ib` enforces IB's limits on requests; `off`, as usual here, serves as fast as it is asked."
        ),
    ] = "off",
    rules_clock: Annotated[
        str, typer.Option(help="Time of the limits: `gateway`, which stands in a pause, or `real`.")
    ] = ("gateway"),
    lines: Annotated[int, typer.Option(help="Market data lines; half as many messages a second.")] = 100,
    latency: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long 1000 historical bars take, in the gateway's time.")
    ] = 0.0,
    delayed: Annotated[
        bool, typer.Option("--delayed", help="Act as an account without live market data: only delayed ticks.")
    ] = False,
    control: Annotated[
        bool | None, typer.Option("--control/--no-control", help="Whether `workbench control` may drive it.")
    ] = None,
    embedded: Annotated[bool, typer.Option("--embedded", hidden=True)] = False,
) -> None:
    """Serve a market over IB's own protocol, so that any TWS client can connect.

    Without options a simulated market runs now, on port 4002. With `--tape FOLDER` past sessions are replayed.

    `--faults FILE` makes it hostile on demand. The file is TOML:

        [[fault]]
        when = { message = "historicalData", symbol = "AAPL", nth = 2 }
        action = { do = "truncate", keep = 0.5 }

        [[fault]]
        when = { after = 60 }
        action = { do = "connectivity-lost", seconds = 20, streams = "dead" }

    `when`: message (a name of IB's API, `sent` or `received`), symbol, client, containing, nth, times (0: always);
    after (seconds), at, daily, weekdays (exchange time). Without any it is at once.

    `do`, on bytes: dribble split truncate garbage wrong-length stall close reset. On messages: drop duplicate reorder
    delay corrupt refuse. On the session: connectivity-lost connectivity-restored farm-broken farm-inactive
    server-broken live-updates-failed bust port-reset contracts-unknown competing-session silence restart
    client-id-stuck nightly-reset weekend-reset. `python -m pydoc workbench.gateway.faults` has the arguments of each.
    """
    from workbench.gateway.behaviour import Behaviour
    from workbench.gateway.clock import GatewayClock
    from workbench.gateway.faults.script import load_faults
    from workbench.gateway.launch import format_exchange_time, open_rules, open_tape, parse_start
    from workbench.gateway.pending import Latency
    from workbench.gateway.process import READY
    from workbench.gateway.serving import serve

    begin, script = parse_start(start), load_faults(faults) if faults else []
    market, clock = open_tape(tape, seed=seed, start=begin, splits=splits, revise=revise), GatewayClock(begin, speed)

    def on_ready(bound: str, number: int) -> None:
        if embedded:
            print(READY, bound, number, flush=True)
            return
        typer.echo(f"built-in gateway · {market.account} · listening on {bound}:{number}")
        typer.echo(f"its clock: {format_exchange_time(clock.now())}, at {speed:g} times real time. Ctrl-C ends it.")
        if driven:
            typer.echo(f"drive it: workbench control pause --port {number}, and resume, jump, speed, status")

    driven = not embedded if control is None else control
    book, time_of_rules = open_rules(rules, rules_clock, lines=lines)
    serve(
        market,
        clock,
        host,
        port,
        on_ready=on_ready,
        until_stdin_closes=embedded,
        faults=script,
        rulebook=book,
        rules_clock=time_of_rules,
        latency=Latency(per_1000_bars_s=latency),
        behaviour=Behaviour(market_data=not delayed),
        control=driven,
    )


CONTROL_EXAMPLES = """Example: `workbench control jump 2026-11-20T15:55`

Others: `workbench control status`, `workbench control pause`, `workbench control resume`, `workbench control speed 50`,
`workbench control inject faults.toml --port 4002`
"""


@app.command(epilog=CONTROL_EXAMPLES)
def control(
    action: Annotated[str, typer.Argument(help="status, pause, resume, jump, speed or inject.")],
    value: Annotated[
        str, typer.Argument(help="jump: exchange time; speed: times real time; inject: a FILE of faults.")
    ] = "",
    *,
    port: Annotated[int, typer.Option(help="The gateway's port; else that of the only one that runs here.")] = 0,
) -> None:
    """Drive a running built-in gateway: its clock, and what goes wrong.

    A jump ahead skips what lies between: it is in history, but is not streamed. A jump back hangs up on every client.
    """
    from workbench.gateway.driving import drive
    from workbench.gateway.launch import format_exchange_time

    told = drive(action, value, port)
    pace = "paused" if told.paused else f"at {told.speed:g} times real time"
    typer.echo(f"{told.account} · {format_exchange_time(told.now)}, {pace} · clients: {told.clients}")


@app.command(epilog="Example: `workbench backfill AAPL MSFT -t 15min -t 1day --since 2024-01-01`")
def backfill(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means the whole universe.")] = None,
    *,
    timeframe: Annotated[
        list[str] | None,
        typer.Option("--timeframe", "-t", help="5sec 1min 5min 15min 1hour 4hour 1day; may be repeated."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First date; else as far as is usual for the timeframe.")] = None,
    until: Annotated[str | None, typer.Option(help="Date before which to end; else now.")] = None,
    what_to_show: Annotated[str, typer.Option(help="TRADES, MIDPOINT, BID or ASK.")] = "TRADES",
    extended_hours: Annotated[bool, typer.Option("--extended-hours", help="Before and after hours too.")] = False,
    gateway: GatewayOption = "",
) -> None:
    """Fetch what is missing in the store and save it. Ctrl-C ends it cleanly; call it again to go on."""
    from workbench.app import open_workbench
    from workbench.ib.backfill import DEFAULT_TIMEFRAMES

    with open_workbench(gateway) as desk:
        report = desk.backfill(
            symbols or (),
            timeframe or DEFAULT_TIMEFRAMES,
            since=since,
            until=until,
            what_to_show=what_to_show,
            use_rth=not extended_hours,
            progress=sys.stderr.isatty(),
        )
    typer.echo(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: `workbench run 01-backfill-history -p symbols=AAPL,MSFT -p since=2025-01-01`")
def run(
    name: Annotated[str, typer.Argument(help="Name of the notebook, or its number.")],
    *,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
    parameters: Annotated[bool, typer.Option("--parameters", help="List the notebook's parameters.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which the run is ended.")] = None,
) -> None:
    """Execute a notebook headlessly; the executed one is kept under papermill_runs/, even when a cell fails."""
    from workbench.pipeline.notebooks import find_notebook, read_parameters, run_notebook
    from workbench.settings import load_settings

    settings = load_settings()
    notebook = find_notebook(name, settings.notebooks_dir)
    if parameters:
        for one in read_parameters(notebook):
            typer.echo(f"{one.name}: {one.type} = {one.default!r}  {one.help}")
        return
    with _cell_progress(notebook.stem) as on_cell:
        result = run_notebook(notebook, _pairs(parameter or []), settings.runs_dir, timeout_s=timeout, on_cell=on_cell)
    typer.echo(f"{notebook.stem}: {result.cells} cells in {result.seconds:.1f} s, {result.output}")


@app.command(epilog="Example: `workbench status`")
def status() -> None:
    """Show the settings in force and what is stored."""
    from workbench.app import open_workbench

    with open_workbench() as desk:
        settings = desk.settings
        ib = settings.ib
        where = "built-in gateway" if settings.uses_built_in_gateway else f"{ib.host or '127.0.0.1'}:{ib.port or 7497}"
        typer.echo(
            f"gateway   {where}\ndata      {settings.market_dir}\ndatabase  {desk.db}\nsource    {desk.store.source}"
        )
        _print_series(desk.store.series())


@app.command(epilog="Example: `workbench demo`")
def demo() -> None:
    """Run the main job once on the built-in gateway: backfill, store, indicators, figures."""
    from workbench.app import open_workbench
    from workbench.pipeline.notebooks import find_notebook, run_notebook

    with open_workbench("built-in") as desk:
        settings = desk.settings
        typer.echo("The built-in gateway plays a simulated market; nothing here needs an IB account.")
        runs = []
        for name in DEMO:
            with _cell_progress(name) as on_cell:
                notebook = find_notebook(name, settings.notebooks_dir)
                runs.append(run_notebook(notebook, {"gateway": "built-in"}, settings.runs_dir, on_cell=on_cell))
            typer.echo(f"{name}: {runs[-1].cells} cells in {runs[-1].seconds:.1f} s")
        typer.echo(f"\nStored in {settings.market_dir}, from {desk.store.source} (times in UTC):")
        _print_series(desk.store.series())
    typer.echo("\nThe executed notebooks, with their figures:")
    for one in runs:
        typer.echo(f"  {one.output}")
    typer.echo("\nNext: `make lab` opens JupyterLab on the notebooks; `workbench --help` lists the commands.")


def _pairs(texts: list[str]) -> dict[str, str]:
    """Return `name=value` texts as a mapping."""
    split = [text.partition("=") for text in texts]
    malformed = [name for name, equals, _ in split if not (equals and name)]
    if malformed:
        raise InvalidParameters(f"{malformed[0]!r} is not NAME=VALUE; write for example -p symbols=AAPL,MSFT")
    return {name: value for name, _, value in split}


@contextmanager
def _cell_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Give what to call with the number of cells done and their total; on a terminal it draws a bar."""
    from tqdm import tqdm

    with tqdm(desc=name, unit="cell", total=0, disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _print_series(series: list[SeriesInfo]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if not series:
        typer.echo("Nothing is stored yet. Begin with `workbench backfill AAPL` or `workbench demo`.")
        return
    table = Table("symbol", "timeframe", "first", "last", box=SIMPLE_HEAD)
    for name in ("bars", "KiB"):
        table.add_column(name, justify="right")
    for one in series:
        first, last = (f"{moment:%Y-%m-%d %H:%M}" if moment else "" for moment in (one.first, one.last))
        timeframe = one.timeframe if one.what_to_show == "TRADES" else f"{one.timeframe} {one.what_to_show}"
        table.add_row(one.symbol, timeframe, first, last, f"{one.bars:,}", f"{one.bytes / 1024:,.0f}")
    Console().print(table)
    for one in series:
        if one.problem:
            typer.secho(f"{one.symbol} {one.timeframe}: {one.problem}", fg="red", err=True)
