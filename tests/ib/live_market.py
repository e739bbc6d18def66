"""A live session at a gateway whose clock runs fast, and what it must end with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

import pandas as pd

from tests.ib.conftest import at
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import Action, Fault, When
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import Tape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.live.session import LiveSession
from workbench.market.bars import COLUMNS
from workbench.market.coverage import Interval
from workbench.market.sessions import Session, session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.market.universe import Universe
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveJournal

LATE_S = 60.0


def until(holds: Callable[[], bool], seconds: float = LATE_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class Market:
    """A gateway, a connection to it, and a live session over it."""

    gateway: GatewayServer
    ib: IBDataManager
    live: LiveSession
    journal: LiveJournal

    @property
    def now(self) -> float:
        return self.gateway.clock.now()

    def strike(self, action: Action, when: When | None = None) -> None:
        self.gateway.inject(Fault(when or When(), action))

    def wait_until(self, moment: str) -> None:
        until(lambda: self.now >= at(moment), LATE_S + self.gateway.clock.real_seconds_until(at(moment)))

    def wait_settled(self, moment: str) -> None:
        """Wait until the clock has passed `moment` and nothing is missing any more."""
        self.wait_until(moment)
        until(lambda: self.live.error is not None or (self.flows() and self.live.status().open_gaps == 0))
        assert self.live.error is None

    def flows(self) -> bool:
        """Return whether a bar of each symbol is recorded: before that, what is missing is not known."""
        ages = self.live.status().streams.ages
        return bool(ages) and all(age < inf for age in ages.values()) and ages.keys() <= self.journal.symbols().keys()

    def wait_complete(self, symbols: Iterable[str], session: Session) -> None:
        """Wait until the daily bar is complete, after all that was missing was built in."""
        until(
            lambda: all(
                self.built(symbol, "1day", session)["received"].sum() == session_bars(session) for symbol in symbols
            )
        )

    def session(self, moment: str) -> Session:
        when = pd.Timestamp(at(moment), unit="s", tz="UTC").to_pydatetime()
        return session_calendar().during(when, when + TIMEFRAMES["5sec"].length, TIMEFRAMES["5sec"])[0]

    def recorded(self, symbol: str, session: Session) -> pd.DataFrame:
        return self.journal.load(symbol, Interval(session.begin, session.end))

    def history(self, symbol: str, timeframe: str, session: Session) -> pd.DataFrame:
        duration = "1 W" if timeframe == "4hour" else "1 D"
        bars = self.ib.fetch_historical_bars(symbol, timeframe, duration, end=session.end)
        return bars if timeframe == "1day" else bars[bars.index >= session.begin]

    def built(self, symbol: str, timeframe: str, session: Session) -> pd.DataFrame:
        bars = self.live.bars(symbol, timeframe)
        begin = session.label_utc if timeframe == "1day" else session.begin
        return bars[bars["complete"] & (bars.index >= begin)]


def session_bars(session: Session) -> int:
    """Return how many five-second bars a session has."""
    return int((session.end - session.begin).total_seconds()) // 5


@contextmanager
def market_at(
    moment: str,
    speed: float,
    folder: Path,
    *,
    faults: Iterable[Fault] = (),
    tape: Tape | None = None,
    universe: Universe | None = None,
    **changes: object,
) -> Iterator[Market]:
    """Give a market whose clock stands at `moment` (exchange time) and runs at `speed`; nothing is followed yet."""
    start = at(moment)
    tape, clock = tape or SimulatedTape(1, start=int(start)), GatewayClock(start, speed)
    with running(tape, clock, faults=faults) as gateway, DatabaseManager(f"sqlite:///{folder / 'live.db'}") as database:
        settings = {"timeout": 2.0, "paced": False, "reset_region": None, "gateway_speed": speed} | changes
        config = IBConnectionConfig(gateway.host, gateway.port, **settings)  # type: ignore[arg-type]
        with IBDataManager(config, universe=universe) as ib:
            journal = LiveJournal(database)
            with LiveSession(lambda: ib, lambda: journal) as live:
                yield Market(gateway, ib, live, journal)


AVERAGE_ROUNDED = 2e-6
"""Averages are told with six decimals; ours are made of such as were rounded."""


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Compare bars to the last bit, but averages to the last decimal that they are told with."""
    exact = [name for name in COLUMNS if name != "average"]
    pd.testing.assert_frame_equal(ours[exact], theirs[exact], check_exact=True, check_freq=False)
    pd.testing.assert_series_equal(ours["average"], theirs["average"], rtol=0, atol=AVERAGE_ROUNDED, check_freq=False)
