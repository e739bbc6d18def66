"""Commands of the scheduler, and of the record of its runs."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import threading
import webbrowser
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import FAILED, GatewayOption, app, fitted

if TYPE_CHECKING:
    import pandas as pd

    from workbench.market.sessions import Session
    from workbench.pipeline.manager import DataPipelineManager

_LOOK_S = 1.0
_LINE_EVERY = 300
"""Where there is no terminal, a line every five minutes."""
_WHOLE_SESSION = timedelta(hours=6, minutes=30)
_OUTCOMES = ("running", "succeeded", "failed", "stopped", "lost", "missed")


@app.command(
    epilog="Example: `workbench schedule`, `workbench schedule --simulate 2026-11-23..2026-12-04`\n\n"
    "Jobs are in workbench.toml, under `[jobs.screen]` and the like; `pydoc workbench.pipeline.jobs` shows how."
)
def schedule(
    *,
    gateway: GatewayOption = "",
    simulate: Annotated[
        str, typer.Option(metavar="FROM..TO", help="Only print what would run on these days, and when.")
    ] = "",
    print_for: Annotated[
        str, typer.Option("--print", metavar="ENGINE", help="Print the file for systemd, cron or prefect, and end.")
    ] = "",
) -> None:
    """Run the desk's notebooks when they are due, on the exchange's clock, until Ctrl-C or SIGTERM.

    By default history is updated at 06:00, the screen runs every hour from 09:00 to 15:00, and the session is saved at
    16:30, on every session. Runs under way are ended in good order. Several may share a database: each job runs once.
    """
    if print_for:
        _print_example(print_for)
        return
    if simulate:
        _print_plan(simulate)
        return
    from workbench.app import open_workbench

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with open_workbench(gateway) as desk, _told(desk.settings.secrets):
        desk.pipeline.start()
        typer.echo(f"{len(desk.pipeline.jobs)} jobs; Ctrl-C ends the scheduler")
        _watch(desk.pipeline, stopping)
        typer.echo("ending; runs under way are stopped")
        desk.pipeline.stop()


def _watch(pipeline: DataPipelineManager, stopping: threading.Event) -> None:
    """Show the status until there is a reason to end."""
    passed = 0
    while pipeline.is_running and not stopping.wait(_LOOK_S):
        if sys.stderr.isatty():
            line = fitted(str(pipeline.status()), shutil.get_terminal_size().columns - 1)
            sys.stderr.write(f"\r\x1b[2K{line}")
            sys.stderr.flush()
        elif passed % _LINE_EVERY == 0:
            typer.echo(pipeline.status(), err=True)
        passed += 1
    if sys.stderr.isatty():
        sys.stderr.write("\n")


@contextmanager
def _told(secrets: Collection[str]) -> Iterator[None]:
    """Show what is logged, each run's begin and end among it, in lines of their own above the status."""
    from workbench.pipeline.secrets import redact

    class Hiding(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return redact(super().format(record), secrets)

    fresh = "\r\x1b[2K" if sys.stderr.isatty() else ""
    handler = logging.StreamHandler()
    handler.setFormatter(Hiding(f"{fresh}%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.getLogger("workbench.pipeline").setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def _print_example(engine: str) -> None:
    from workbench.pipeline.examples import example
    from workbench.settings import project_folder

    typer.echo(example(engine, project_folder()), nl=False)


def _print_plan(days: str) -> None:
    from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
    from workbench.market.timeframes import TIMEFRAMES
    from workbench.pipeline.jobs import to_jobs
    from workbench.pipeline.schedule import plan
    from workbench.settings import load_settings

    begin, end = _parse_days(days)
    jobs = to_jobs(load_settings().jobs)
    due = plan(jobs, begin, end)
    sessions = {one.label: one for one in session_calendar().during(begin, end, TIMEFRAMES["1min"])}
    widest = max((len(job.name) for job in jobs), default=0)
    day = None
    for moment, job in due:
        local = moment.astimezone(EXCHANGE_ZONE)
        if local.date() != day:
            day = local.date()
            typer.echo(f"{day:%a %Y-%m-%d}  {_hours(sessions.get(day))}")
        typer.echo(f"  {local:%H:%M} New York  {moment:%H:%M} UTC  {job.name:{widest}}  {job.notebook}")
    typer.echo(f"{len(due)} runs on {len({moment.astimezone(EXCHANGE_ZONE).date() for moment, _ in due})} days")


def _hours(session: Session | None) -> str:
    """Say when a session opens and closes, and that it is short."""
    from workbench.market.sessions import EXCHANGE_ZONE

    if session is None:
        return "no session"
    begin, end = (edge.astimezone(EXCHANGE_ZONE) for edge in (session.begin, session.end))
    return f"{begin:%H:%M} to {end:%H:%M}" + (", a short session" if end - begin < _WHOLE_SESSION else "")


def _parse_days(text: str) -> tuple[datetime, datetime]:
    """Return the begin of the first day and the end of the last, in New York."""
    from workbench.errors import InvalidInput
    from workbench.market.sessions import EXCHANGE_ZONE

    first, dots, last = text.partition("..")
    try:
        begin, end = (
            datetime.fromisoformat(day.strip()).replace(tzinfo=EXCHANGE_ZONE)
            for day in (first, last if dots else first)
        )
    except ValueError as error:
        raise InvalidInput(f"{text!r} are no days; write 2026-11-23, or 2026-11-23..2026-12-04") from error
    if end < begin:
        raise InvalidInput(f"{text!r}: the last day lies before the first; write 2026-11-23..2026-12-04")
    return begin, end + timedelta(days=1)


@app.command(
    epilog="Example: `workbench runs --outcome failed`, `workbench runs --job screen`, `workbench runs 17 --open`"
)
def runs(
    number: Annotated[int | None, typer.Argument(help="One run, by its number: show all of it.")] = None,
    *,
    job: Annotated[str, typer.Option(help="Only runs of this job.")] = "",
    outcome: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(_OUTCOMES)}.")] = None,
    since: Annotated[str, typer.Option(metavar="DATE", help="Only runs that were due from this day on.")] = "",
    last: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    open_it: Annotated[bool, typer.Option("--open", help="Open the run's page in the browser.")] = False,
) -> None:
    """List what the scheduler ran, the newest first.

    With a number it shows one run and where its notebook is, and ends with 1 when that did not succeed.
    """
    from workbench.app import open_workbench
    from workbench.errors import InvalidInput

    unknown = [one for one in outcome or [] if one not in _OUTCOMES]
    if unknown:
        raise InvalidInput(f"{unknown[0]!r} is no outcome; there are {', '.join(_OUTCOMES)}")
    with open_workbench() as desk:
        begin = _parse_days(since)[0] if since else None
        if number is not None:
            _show_run(desk.runs.load(run_id=number), number, open_it=open_it)
            return
        found = desk.runs.load(job=job, outcomes=outcome or (), since=begin, limit=last)  # type: ignore[arg-type]
    if found.empty and (job or outcome or since):
        typer.echo("No such runs; `workbench runs` lists all.")
    elif found.empty:
        typer.echo(
            "No runs yet. `workbench schedule` makes them; `workbench run NAME` runs a notebook without a record."
        )
    else:
        _list_runs(found)


def _list_runs(found: pd.DataFrame) -> None:
    from pandas import notna
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from workbench.market.sessions import EXCHANGE_ZONE

    table = Table("run", "job", "due (New York)", "took", "outcome", "what", box=SIMPLE_HEAD)
    for row in found.to_dict("records"):
        ran = notna(row["started"]) and notna(row["ended"])
        took = f"{(row['ended'] - row['started']).total_seconds():.1f} s" if ran else ""
        due = f"{row['due'].astimezone(EXCHANGE_ZONE):%a %Y-%m-%d %H:%M}"
        again = f" (attempt {row['attempt']})" if row["attempt"] > 1 else ""
        figures = ", ".join(f"{name} {value}" for name, value in row["figures"].items())
        told = row["error"].splitlines()[0] if notna(row["error"]) and row["error"] else figures
        table.add_row(str(row["id"]), row["job"], due, took, row["outcome"] + again, told)
    Console().print(table)


def _show_run(found: pd.DataFrame, number: int, *, open_it: bool) -> None:
    from pandas import notna

    from workbench.errors import InvalidInput

    if found.empty:
        raise InvalidInput(f"there is no run {number}; workbench runs lists them")
    [row] = found.to_dict("records")
    for name, value in row.items():
        if isinstance(value, dict) or (notna(value) and value != ""):
            typer.echo(f"{name:17} {value}")
    page = Path(row["output_path"]).with_suffix(".html") if notna(row["output_path"]) else None
    if open_it and page is not None and page.is_file():
        webbrowser.open(page.resolve().as_uri())
    elif open_it:
        raise InvalidInput(f"run {number} left no page")
    if row["outcome"] not in ("succeeded", "running"):
        raise typer.Exit(FAILED)
