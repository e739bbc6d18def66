"""The live journal: every five-second bar that was received, in the database, until the store has the session.

A recorder appends; any process follows. What was appended is committed when `append` returns, so nothing that was
received is lost when a process dies. A bar that is there already is not replaced: the first one stands.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import nan
from typing import NamedTuple

import pandas as pd
from sqlalchemy import Connection, delete, func, select

from workbench.errors import AlreadyRecorded
from workbench.market.bars import COLUMNS, TIMESTAMP, empty_bars
from workbench.market.coverage import Interval
from workbench.store.database import DatabaseManager, insert_into
from workbench.store.tables import live_bars, live_recorders

_LENGTH = timedelta(seconds=5)
_APPEND_LOCK = 7_311_987
"""A number that only writers of the journal ask PostgreSQL to lock: so numbers are committed in their order."""


class LiveBar(NamedTuple):
    """A five-second bar as it came. `timestamp` is its start in epoch seconds."""

    symbol: str
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    average: float
    bar_count: float


@dataclass(frozen=True, slots=True)
class Page:
    """Bars in the order in which they came, and the cursor from which to read on."""

    bars: list[LiveBar]
    cursor: int


class LiveJournal:
    """The journal of one database."""

    def __init__(self, database: DatabaseManager) -> None:
        self._database = database

    def append(self, bars: Sequence[LiveBar]) -> None:
        """Commit bars, those that are not there yet."""
        if not bars:
            return
        received = datetime.now(UTC)
        rows = [_row(bar, received) for bar in bars]
        with self._database.transaction() as connection:
            _one_writer(connection)
            statement = insert_into(live_bars, connection).on_conflict_do_nothing(index_elements=["symbol", TIMESTAMP])
            connection.execute(statement, rows)

    def read(self, cursor: int = 0, symbols: Collection[str] = (), *, most: int = 100_000) -> Page:
        """Return the bars that were appended after `cursor`, of some symbols or of all."""
        table = live_bars
        query = select(table).where(table.c.id > cursor).order_by(table.c.id).limit(most)
        if symbols:
            query = query.where(table.c.symbol.in_(symbols))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        bars = [
            LiveBar(row.symbol, int(row.timestamp.timestamp()), *(_number(getattr(row, name)) for name in COLUMNS))
            for row in rows
        ]
        return Page(bars, rows[-1].id if rows else cursor)

    def follow(
        self, cursor: int = 0, symbols: Collection[str] = (), *, poll_s: float = 0.25
    ) -> Iterator[list[LiveBar]]:
        """Give what is there after `cursor`, then what comes, batch by batch, for ever; an empty batch when none came.

        The empty ones let a caller look at its clock, or stop.
        """
        while True:
            page = self.read(cursor, symbols)
            cursor = page.cursor
            yield page.bars
            if not page.bars:
                time.sleep(poll_s)

    def load(self, symbol: str, span: Interval | None = None) -> pd.DataFrame:
        """Return the bars of a symbol, by start."""
        table = live_bars
        query = select(*(table.c[name] for name in (TIMESTAMP, *COLUMNS))).where(table.c.symbol == symbol)
        if span is not None:
            query = query.where(table.c.timestamp >= span.begin, table.c.timestamp < span.end)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(table.c.timestamp)).all()
        if not rows:
            return empty_bars()
        index = pd.DatetimeIndex([row.timestamp for row in rows], name=TIMESTAMP).as_unit("us")
        return pd.DataFrame([tuple(row)[1:] for row in rows], index=index, columns=list(COLUMNS), dtype=float)

    def symbols(self) -> dict[str, Interval]:
        """Return of which symbols there are bars, and from when to when."""
        table = live_bars
        query = select(table.c.symbol, func.min(table.c.timestamp), func.max(table.c.timestamp)).group_by(
            table.c.symbol
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {symbol: Interval(first, last + _LENGTH) for symbol, first, last in rows}

    def forget(self, symbol: str, span: Interval) -> int:
        """Remove what the store has durably; return how many bars that were."""
        table = live_bars
        mine = (table.c.symbol == symbol) & (table.c.timestamp >= span.begin) & (table.c.timestamp < span.end)
        with self._database.transaction() as connection:
            return int(connection.execute(delete(table).where(mine)).rowcount)

    def hold(self, symbols: Collection[str], holder: str, *, now: datetime, until: datetime) -> None:
        """Record for these symbols, alone, until then; call it again before to go on.

        Raises `AlreadyRecorded` when another recorder holds one of them: then none is held.
        """
        table = live_recorders
        with self._database.transaction() as connection:
            _one_writer(connection)
            connection.execute(delete(table).where(table.c.until <= now))
            taken = connection.execute(
                select(table.c.symbol, table.c.holder).where(table.c.symbol.in_(symbols), table.c.holder != holder)
            ).all()
            if taken:
                raise AlreadyRecorded(sorted({row.symbol for row in taken}), taken[0].holder)
            connection.execute(delete(table).where(table.c.holder == holder))
            rows = [{"symbol": symbol, "holder": holder, "until": until} for symbol in symbols]
            if rows:
                connection.execute(insert_into(table, connection), rows)

    def release(self, holder: str) -> None:
        """Hold nothing any more."""
        with self._database.transaction() as connection:
            connection.execute(delete(live_recorders).where(live_recorders.c.holder == holder))


def _one_writer(connection: Connection) -> None:
    """Let one append at a time: a follower must never see a number before a smaller one."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_APPEND_LOCK)))


def _row(bar: LiveBar, received: datetime) -> dict[str, object]:
    numbers = {name: None if number != number else number for name, number in zip(COLUMNS, bar[2:], strict=True)}
    moment = datetime.fromtimestamp(bar.timestamp, UTC)
    return {"symbol": bar.symbol, TIMESTAMP: moment, **numbers, "received_at": received}


def _number(value: float | None) -> float:
    return nan if value is None else value
