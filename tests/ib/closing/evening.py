"""An evening after a recorded session: a gateway whose clock stands there, a store, and a journal with live bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from tests.ib.conftest import at
from workbench.gateway.clock import GatewayClock
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import Tape
from workbench.ib.closing.save import Parts
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.market.sessions import Session, session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.closings import Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveBar, LiveJournal

NAMES = list(TIMEFRAMES)
FRIDAY, HALF_DAY = date(2026, 11, 20), date(2026, 11, 27)


def session_of(label: date) -> Session:
    day = datetime(label.year, label.month, label.day, tzinfo=UTC)
    return session_calendar().during(day, day + timedelta(days=1), TIMEFRAMES["1day"])[0]


def live_bars(symbol: str, label: date, tape: Tape | None = None) -> list[LiveBar]:
    """Return what a recorder would have heard of a session."""
    session = session_of(label)
    begin, end = int(session.begin.timestamp()), int(session.end.timestamp())
    bars = (tape or SimulatedTape(1, start=int(at("2026-11-20T12:00:00")))).bars(symbol, 5, begin, end, use_rth=True)
    columns = (bars.start, bars.open, bars.high, bars.low, bars.close, bars.volume, bars.average, bars.count)
    return [LiveBar(symbol, *row) for row in zip(*(np.asarray(column).tolist() for column in columns), strict=True)]


@dataclass
class Evening:
    """What saving needs, and the gateway behind it."""

    parts: Parts
    gateway: GatewayServer

    def left(self) -> int:
        return len(self.parts.journal.read().bars)


@contextmanager
def evening(
    moment: str, folder: Path, database_url: str = "", *, tape: Tape | None = None, **changes: object
) -> Iterator[Evening]:
    """Give an evening at `moment` (exchange time); its clock runs at real speed."""
    start, url = at(moment), database_url or f"sqlite:///{folder / 'live.db'}"
    with running(tape or SimulatedTape(1, start=int(start)), GatewayClock(start)) as gateway:
        config = IBConnectionConfig(gateway.host, gateway.port, paced=False, reset_region=None)
        with DatabaseManager(url) as database, IBDataManager(replace(config, **changes)) as ib:  # type: ignore[arg-type]
            store = HistoricalDataManager(folder / "historical", database=database)
            yield Evening(Parts(ib, store, LiveJournal(database), Closings(database)), gateway)
