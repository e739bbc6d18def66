"""A backfill beside the least that IB's rules allow, in requests and in time; `make bench` prints it.

The gateway runs in a process of its own and enforces IB's rules; it counts what it is asked and what it refuses. The
least is computed here from the exchange calendar and the rules alone:

requests   a series needs its bars divided by 5 000; of five-second bars, whole sessions (what a duration in seconds
           does across a close is not verified at IB, days are certain), so one each
time       50 requests under way: all answers' time divided by 50, or the longest; 50 messages a second; of small bars
           60 requests in ten minutes. All in the gateway's time.

Both sides share the processors of this machine, and it is the rules that are measured: so the gateway's clock runs at
half the real speed in the first case, and only ten times faster in the second.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from exchange_calendars import get_calendar

from tests.benchmarks.gateway import synthetic
from tests.ib.strict import strict_process
from workbench.ib.backfill import plan_backfill
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.market.contracts import Contract
from workbench.market.universe import Universe
from workbench.store.historical import HistoricalDataManager

START = datetime(2026, 11, 20, 17, 0, tzinfo=ZoneInfo("America/New_York")).timestamp()
BAR_S = {"5sec": 5, "1min": 60, "15min": 900, "1hour": 3600, "4hour": 14_400}
MOST_BARS, UNDER_WAY, MESSAGES_S, SMALL, TEN_MINUTES = 5000, 50, 50, 60, 600.0


@dataclass(frozen=True)
class Case:
    """What is fetched, and how the gateway answers."""

    name: str
    symbols: int
    timeframes: tuple[str, ...]
    since: str
    speed: float
    s_per_1000_bars: float


CASES = (
    Case("100 symbols, 2 years of 15min 1hour 4hour 1day", 100, ("15min", "1hour", "4hour", "1day"), "2024-11-21",
         0.5, 2.0),
    Case("5 symbols, 20 sessions of 5sec", 5, ("5sec",), "2026-10-26", 10.0, 2.0),
)  # fmt: skip


@dataclass(frozen=True)
class Least:
    """The least that the rules allow."""

    requests: int
    seconds: float


def bars_a_session(timeframe: str, begin: datetime, end: datetime) -> int:
    """Return the number of bars of a session: one a step of the exchange's clock that it meets."""
    if timeframe == "1day":
        return 1
    step = BAR_S[timeframe]
    first, last = (it.hour * 3600 + it.minute * 60 for it in (begin, end))
    return math.ceil(last / step) - first // step


def least(case: Case) -> Least:
    """Return the bounds, from the calendar and the rules."""
    calendar = get_calendar("XNYS", start="2024-01-02", end="2026-12-31")
    zone = ZoneInfo("America/New_York")
    days = [day for day in calendar.sessions if date.fromisoformat(case.since) <= day.date() <= date(2026, 11, 20)]
    hours = [
        (calendar.session_open(day).astimezone(zone), calendar.session_close(day).astimezone(zone)) for day in days
    ]
    answers: list[float] = []
    for timeframe in case.timeframes:
        bars = [bars_a_session(timeframe, *it) for it in hours]
        requests = len(bars) if timeframe == "5sec" else math.ceil(sum(bars) / MOST_BARS)
        answers += [sum(bars) / requests * case.s_per_1000_bars / 1000] * requests * case.symbols
    count = len(answers)
    windows = (count - 1) // SMALL * TEN_MINUTES + min(answers) if case.timeframes == ("5sec",) else 0.0
    return Least(count, max(sum(answers) / UNDER_WAY, max(answers), (count - MESSAGES_S) / MESSAGES_S, windows))


@dataclass(frozen=True)
class Taken:
    """What a backfill took: requests and head timestamps as the gateway counted them, gateway time, refusals."""

    requests: int
    seconds: float
    refusals: Sequence[str]
    bars: int
    failed: int


def universe_of(symbols: int) -> Universe:
    """Return the contracts of the synthetic market."""
    instruments = [it.instrument for it in synthetic(symbols).values()]
    return Universe(
        Contract(it.symbol, "stock", "SMART", it.primary_exchange, it.currency, "stocks") for it in instruments
    )


def taken(case: Case) -> Taken:
    """Backfill into an empty store and return what it took."""
    served = strict_process(START, case.speed, case.s_per_1000_bars, case.symbols)
    with tempfile.TemporaryDirectory() as folder, served as (port, told):
        universe = universe_of(case.symbols)
        store = HistoricalDataManager(Path(folder), universe=universe)
        config = IBConnectionConfig(port=port, gateway_speed=case.speed)
        with IBDataManager(config, universe=universe) as ib:
            backfill = plan_backfill(ib, store, list(universe), case.timeframes, since=case.since)
            print(f"  {backfill.forecast}")
            begin = time.perf_counter()
            report = backfill.run(progress=False)
            seconds = (time.perf_counter() - begin) * case.speed
    (account,) = told
    return Taken(len(account.history) + account.heads, seconds, account.refusals, report.added, len(report.failed))


def main() -> None:
    """Print each case beside its bound; exit with an error where one is missed."""
    missed = 0
    for case in CASES:
        print(case.name, flush=True)
        bound, got = least(case), taken(case)
        requests, seconds = got.requests / bound.requests, got.seconds / bound.seconds
        print(f"  requests   {got.requests:8}   least {bound.requests:8}   ratio {requests:.3f} (aim: 1.05 or less)")
        print(f"  seconds    {got.seconds:8.1f}   least {bound.seconds:8.1f}   ratio {seconds:.3f} (aim: 1.10 or less)")
        print(f"  violations {len(got.refusals):8}   failed {got.failed}, bars {got.bars:,}", flush=True)
        if got.refusals:
            print(f"  {sorted(set(got.refusals))}")
        missed += requests > 1.05 or seconds > 1.10 or bool(got.refusals) or bool(got.failed)
    sys.exit(missed)


if __name__ == "__main__":
    main()
