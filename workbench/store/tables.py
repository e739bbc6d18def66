"""The tables of the database, as SQLAlchemy knows them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Column, Dialect, Double, Index, Integer, MetaData, String, Table, UniqueConstraint
from sqlalchemy.types import TIMESTAMP, TypeDecorator

metadata = MetaData()


class UtcTimestamp(TypeDecorator[datetime]):
    """An instant, kept as TIMESTAMP without zone in UTC and given back with its zone."""

    impl = TIMESTAMP
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn an aware instant into naive UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give naive UTC its zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


historical_data_metadata = Table(
    "historical_data_metadata",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("symbol", String(10), nullable=False),
    Column("timeframe", String(10), nullable=False),
    Column("start_date", UtcTimestamp, nullable=False),
    Column("end_date", UtcTimestamp, nullable=False),
    Column("bar_count", Integer, nullable=False),
    Column("last_updated", UtcTimestamp, nullable=False),
    UniqueConstraint("symbol", "timeframe"),
    Index("idx_metadata_symbol", "symbol"),
)
Index("idx_metadata_updated", historical_data_metadata.c.last_updated.desc())

coverage = Table(
    "coverage",
    metadata,
    Column("symbol", String(10), primary_key=True),
    Column("timeframe", String(10), primary_key=True),
    Column("what_to_show", String(10), primary_key=True),
    Column("begins_at", UtcTimestamp, primary_key=True),
    Column("ends_at", UtcTimestamp, nullable=False),
)

# IB's limits hold for an account, whatever the number of our processes. Their times are epoch seconds.
request_budgets = Table(
    "request_budgets",
    metadata,
    Column("gateway", String(255), primary_key=True),
    Column("account", String(64), primary_key=True),
    Column("cold_until", Double, nullable=False),
)

request_bookings = Table(
    "request_bookings",
    metadata,
    Column("token", String(32), primary_key=True),
    Column("gateway", String(255), nullable=False),
    Column("account", String(64), nullable=False),
    Column("sent", Double, nullable=False),
    Column("held_until", Double, nullable=False),
    Column("contract", String(64), nullable=False),
    Column("exchange", String(32), nullable=False),
    Column("what_to_show", String(32), nullable=False),
    Column("bar_seconds", Integer, nullable=False),
    Column("rest", String(128), nullable=False),
    Column("messages", Integer, nullable=False),
    Index("idx_request_bookings_sent", "gateway", "account", "sent"),
)

request_sizes = Table(
    "request_sizes",
    metadata,
    Column("gateway", String(255), primary_key=True),
    Column("timeframe", String(10), primary_key=True),
    Column("bars", Integer, nullable=False),
)

live_bars = Table(
    "live_bars",
    metadata,
    Column("id", Integer, primary_key=True),  # the order in which they came
    Column("symbol", String(10), nullable=False),
    Column("timestamp", UtcTimestamp, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("open", "high", "low", "close", "volume")),
    *(Column(name, Double) for name in ("average", "bar_count")),  # where IB says them
    Column("received_at", UtcTimestamp, nullable=False),
    UniqueConstraint("symbol", "timestamp"),
)

live_recorders = Table(
    "live_recorders",
    metadata,
    Column("symbol", String(10), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("until", UtcTimestamp, nullable=False),
)
