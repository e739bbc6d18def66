"""Sessions of the live journal: which wait to be saved, and the record of those that were.

The record says, by symbol and timeframe, how the bars that were built live differ from IB's history. It is written in
the one transaction in which the session's five-second bars leave the journal: neither is ever there without the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

import pandas as pd
from sqlalchemy import Connection, delete, func, select

from workbench import html
from workbench.market.differences import Differences
from workbench.market.sessions import Session, session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.database import DatabaseManager, insert_into
from workbench.store.tables import live_bars, session_closings

_FIVE = TIMEFRAMES["5sec"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session of which the journal has bars, and of which symbols."""

    session: Session
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closing:
    """What there is to record of a symbol's session: `heard` five-second bars were in the journal.

    `provisional` says how many bars of each timeframe were stored as they were built, for history has none.
    """

    session: Session
    symbol: str
    heard: int
    differences: Mapping[str, Differences]
    provisional: Mapping[str, int]


class Closings:
    """The saved sessions of one database, and those that wait in its journal."""

    def __init__(self, database: DatabaseManager) -> None:
        self._database = database

    def __repr__(self) -> str:
        waiting = self.waiting()
        return f"Closings({len(waiting)} sessions wait in the journal)"

    def _repr_html_(self) -> str:
        lines = [(one.session.label, len(one.symbols), one.symbols[:8]) for one in self.waiting()]
        steps = [("desk.save_session()", "IB's history takes their place")] if lines else []
        names = ("session", "symbols", "the first ones")
        return html.card(
            f"{len(lines)} sessions wait in the journal", html.rows(names, lines), html.steps(steps),
            state="look" if lines else "plain",
        )  # fmt: skip

    def waiting(self) -> list[Waiting]:
        """Return the sessions of which the journal has bars, oldest first."""
        table = live_bars
        with self._database.reading() as connection:
            first, last = connection.execute(select(func.min(table.c.timestamp), func.max(table.c.timestamp))).one()
            if first is None:
                return []
            found = []
            for session in session_calendar().during(first, last + _FIVE.length, _FIVE):
                inside = (table.c.timestamp >= session.begin) & (table.c.timestamp < session.end)
                symbols = connection.execute(select(table.c.symbol).where(inside).distinct()).scalars()
                found.append(Waiting(session, tuple(sorted(symbols))))
        return [one for one in found if one.symbols]

    def newest(self) -> int:
        """Return the number of the journal's newest bar: what comes later has a greater one."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.max(live_bars.c.id))).scalar() or 0)

    def close(self, closing: Closing, *, until: int) -> int:
        """Record a session and remove its bars up to number `until` from the journal; return how many those were.

        Bars that come to the journal after their session was saved, for a recorder filled a gap late, are removed
        without changing the record.
        """
        session, table = closing.session, live_bars
        mine = (table.c.symbol == closing.symbol) & (table.c.id <= until)
        inside = (table.c.timestamp >= session.begin) & (table.c.timestamp < session.end)
        with self._database.transaction() as connection:
            _record(connection, closing)
            return int(connection.execute(delete(table).where(mine & inside)).rowcount)

    def load(self, sessions: Collection[date] = (), symbols: Collection[str] = ()) -> pd.DataFrame:
        """Return the records, of some sessions and symbols or of all: a row a session, symbol and timeframe."""
        table = session_closings
        query = select(table)
        if sessions:
            query = query.where(table.c.session.in_(sessions))
        if symbols:
            query = query.where(table.c.symbol.in_(symbols))
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        frame = pd.DataFrame([dict(row) for row in rows], columns=[column.name for column in table.columns])
        lengths = frame["timeframe"].map({name: length.seconds for name, length in TIMEFRAMES.items()})
        ordered = frame.assign(seconds=lengths).sort_values(["session", "symbol", "seconds"], ignore_index=True)
        return ordered.drop(columns="seconds")


def _record(connection: Connection, closing: Closing) -> None:
    """Write the record, unless there is one that was made of more bars."""
    table = session_closings
    same = (table.c.session == closing.session.label) & (table.c.symbol == closing.symbol)
    if (connection.execute(select(func.max(table.c.heard)).where(same)).scalar() or 0) > closing.heard:
        return
    now = datetime.now(UTC)
    connection.execute(delete(table).where(same))
    rows = [
        {"session": closing.session.label, "symbol": closing.symbol, "timeframe": name, "heard": closing.heard}
        | asdict(found)
        | {"provisional": closing.provisional.get(name, 0), "saved_at": now}
        for name, found in closing.differences.items()
    ]
    connection.execute(insert_into(table, connection), rows)
