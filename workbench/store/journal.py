"""The live journal: every five-second bar that was received, in the database, until the store has the session.

A recorder appends; any process follows. What was appended is committed when `append` returns, so nothing that was
received is lost when a process dies. A bar that is there already is not replaced by another that comes live: the first
one stands, until history tells it otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import nan
from typing import Any, NamedTuple

import pandas as pd
from sqlalchemy import Connection, bindparam, delete, func, select

from workbench.errors import AlreadyRecorded
from workbench.market.bars import COLUMNS, TIMESTAMP, empty_bars
from workbench.market.coverage import Interval
from workbench.store.database import DatabaseManager, insert_into
from workbench.store.holders import Holder
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


@dataclass(frozen=True, slots=True)
class Hold:
    """A recorder's lease on a symbol."""

    symbol: str
    holder: Holder
    until: datetime


class LiveJournal:
    """The journal of one database."""

    def __init__(self, database: DatabaseManager) -> None:
        self._database = database

    def append(self, bars: Sequence[LiveBar], *, from_history: bool = False) -> None:
        """Commit bars, those that are not there yet."""
        if not bars:
            return
        with self._database.transaction() as connection:
            _one_writer(connection)
            _insert(connection, bars, from_history=from_history)

    def revise(self, symbol: str, bars: Sequence[LiveBar], gone: Collection[int] = ()) -> None:
        """Replace bars of a symbol by what history tells, and remove those that started when it has nothing.

        Followers read what was replaced anew, under new numbers.
        """
        starts = [*(bar.timestamp for bar in bars), *gone]
        if not starts:
            return
        table = live_bars
        same = (table.c.symbol == symbol) & (table.c.timestamp == bindparam("moment"))
        with self._database.transaction() as connection:
            _one_writer(connection)
            moments = [{"moment": datetime.fromtimestamp(start, UTC)} for start in starts]
            connection.execute(delete(table).where(same), moments)
            if bars:
                _insert(connection, bars, from_history=True)

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

    def end(self) -> int:
        """Return the cursor behind all that is there: reading from it gives what comes."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.max(live_bars.c.id))).scalar() or 0)

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

    def from_history(self, symbol: str, span: Interval) -> list[int]:
        """Return the starts, in epoch seconds, of the bars that did not come live but were filled from history."""
        table = live_bars
        query = select(table.c.timestamp).where(table.c.symbol == symbol, table.c.from_history)
        query = query.where(table.c.timestamp >= span.begin, table.c.timestamp < span.end)
        with self._database.reading() as connection:
            return [int(moment.timestamp()) for moment in connection.execute(query).scalars()]

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

    def hold(self, symbols: Collection[str], holder: Holder, *, now: datetime, until: datetime) -> None:
        """Record for these symbols, alone, until then; call it again before to go on.

        Raises `AlreadyRecorded` when another recorder holds one of them: then none is held. One whose process is
        provably gone holds nothing any more.
        """
        table = live_recorders
        with self._database.transaction() as connection:
            _one_writer(connection)
            connection.execute(delete(table).where((table.c.until <= now) | (table.c.token == holder.token)))
            query = select(table).where(table.c.symbol.in_(symbols)).order_by(table.c.symbol)
            taken = [row for row in connection.execute(query).all() if not _is_gone(row)]
            if taken:
                raise AlreadyRecorded([row.symbol for row in taken], taken[0].holder, max(row.until for row in taken))
            connection.execute(delete(table).where(table.c.symbol.in_(symbols)))
            mine = {
                "holder": holder.name, "token": holder.token, "machine": holder.machine, "pid": holder.pid,
                "started": holder.started, "until": until,
            }  # fmt: skip
            if symbols:
                connection.execute(insert_into(table, connection), [{"symbol": symbol} | mine for symbol in symbols])

    def recorders(self) -> list[Hold]:
        """Return who records what, by symbol, whether that process still lives or not."""
        with self._database.reading() as connection:
            rows = connection.execute(select(live_recorders).order_by(live_recorders.c.symbol)).all()
        return [Hold(row.symbol, _holder(row), row.until) for row in rows]

    def release(self, holder: Holder) -> None:
        """Hold nothing any more."""
        with self._database.transaction() as connection:
            connection.execute(delete(live_recorders).where(live_recorders.c.token == holder.token))


def _is_gone(row: Any) -> bool:
    return _holder(row).is_gone()


def _holder(row: Any) -> Holder:
    return Holder(row.holder, row.machine, row.pid, row.started, row.token)


def _insert(connection: Connection, bars: Sequence[LiveBar], *, from_history: bool) -> None:
    received = datetime.now(UTC)
    rows = [_row(bar, received) | {"from_history": from_history} for bar in bars]
    statement = insert_into(live_bars, connection).on_conflict_do_nothing(index_elements=["symbol", TIMESTAMP])
    connection.execute(statement, rows)


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
