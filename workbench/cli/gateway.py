"""Commands of the built-in gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.base import app

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
        bool,
        typer.Option("--delayed", help="Act as an account without live market data: 15 minutes late."),
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
    delay corrupt refuse. On the session: connectivity-lost connectivity-restored tell farm-broken farm-inactive
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
