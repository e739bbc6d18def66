"""What all processes of this machine have sent to one account of one gateway, in the database.

Every look at it and change of it is one transaction that no other process can come between. What no limit looks at
any more is swept away, so the table stays small.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from workbench.store.database import DatabaseManager, insert_into
from workbench.store.tables import request_bookings, request_budgets, request_sizes

_FAR_AHEAD_S = 3600.0
"""What is booked so far ahead was booked before the clock was set back."""


@dataclass(frozen=True, slots=True)
class BookingRow:
    """A request that was sent. `sent` and `held_until` are epoch seconds."""

    token: str
    sent: float
    held_until: float
    contract: str
    exchange: str
    what_to_show: str
    bar_seconds: int
    rest: str
    messages: int


class BookingPage:
    """The bookings of one account, within one transaction."""

    def __init__(self, connection: Connection, gateway: str, account: str) -> None:
        self._connection = connection
        self._key = {"gateway": gateway, "account": account}
        table = request_budgets
        row = connection.execute(
            insert_into(table, connection)
            .values(**self._key, cold_until=-1.0)
            .on_conflict_do_update(index_elements=["gateway", "account"], set_={"cold_until": table.c.cold_until})
            .returning(table.c.cold_until)
        ).one()  # PostgreSQL locks the row thereby: other processes wait here
        self.cold_until = float(row.cold_until) if row.cold_until > 0 else -math.inf

    def rows(self, now: float, *, small_s: int, small_window_s: float, window_s: float) -> list[BookingRow]:
        """Sweep, then return what is left: small bars are looked at for longer than others."""
        table = request_bookings
        past = or_(
            (table.c.bar_seconds <= small_s) & (table.c.sent < now - small_window_s),
            (table.c.bar_seconds > small_s) & (table.c.sent < now - window_s),
        )
        ahead = table.c.sent > now + _FAR_AHEAD_S
        self._connection.execute(delete(table).where(self._mine(), or_(past & (table.c.held_until < now), ahead)))
        columns = [table.c[name] for name in BookingRow.__slots__]
        found = self._connection.execute(select(*columns).where(self._mine()))
        return [BookingRow(**row) for row in found.mappings()]

    def add(self, rows: Collection[BookingRow]) -> None:
        """Book."""
        if rows:
            values = [self._key | {name: getattr(row, name) for name in BookingRow.__slots__} for row in rows]
            self._connection.execute(insert(request_bookings), values)

    def release(self, tokens: Collection[str], now: float) -> None:
        """Give places back; the rows stay while a window may look at them."""
        if tokens:
            table = request_bookings
            statement = update(table).where(self._mine(), table.c.token.in_(tokens), table.c.held_until > now)
            self._connection.execute(statement.values(held_until=now))

    def cool_down(self, until: float) -> None:
        """Let nothing be sent before."""
        if until > self.cold_until:
            table = request_budgets
            mine = (table.c.gateway == self._key["gateway"]) & (table.c.account == self._key["account"])
            self._connection.execute(update(table).where(mine).values(cold_until=until))
            self.cold_until = until

    def _mine(self) -> ColumnElement[bool]:
        table = request_bookings
        return (table.c.gateway == self._key["gateway"]) & (table.c.account == self._key["account"])


@contextmanager
def booking_page(database: DatabaseManager, gateway: str, account: str) -> Iterator[BookingPage]:
    """Open the bookings of an account; while the block runs no other process can."""
    with database.transaction() as connection:
        yield BookingPage(connection, gateway, account)


def load_request_sizes(database: DatabaseManager, gateway: str) -> dict[str, int]:
    """Return how many bars a request may ask for, by timeframe, as was learned of a gateway."""
    table = request_sizes
    with database.reading() as connection:
        found = connection.execute(select(table.c.timeframe, table.c.bars).where(table.c.gateway == gateway))
        return {row.timeframe: row.bars for row in found}


def save_request_size(database: DatabaseManager, gateway: str, timeframe: str, bars: int) -> None:
    """Remember how many bars a request may ask for."""
    with database.transaction() as connection:
        statement = insert_into(request_sizes, connection).values(gateway=gateway, timeframe=timeframe, bars=bars)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["gateway", "timeframe"], set_={"bars": bars})
        )
