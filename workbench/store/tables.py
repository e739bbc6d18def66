"""The tables of the database, as SQLAlchemy knows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
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
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),  # the order in which they came
    Column("symbol", String(10), nullable=False),
    Column("timestamp", UtcTimestamp, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("open", "high", "low", "close", "volume")),
    *(Column(name, Double) for name in ("average", "bar_count")),  # where IB says them
    Column("received_at", UtcTimestamp, nullable=False),
    Column("from_history", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("symbol", "timestamp"),
    sqlite_autoincrement=True,
)

live_recorders = Table(
    "live_recorders",
    metadata,
    Column("symbol", String(10), primary_key=True),
    *(Column(name, String(32), nullable=False) for name in ("token", "started")),
    *(Column(name, String(255), nullable=False) for name in ("holder", "machine")),
    Column("pid", Integer, nullable=False),
    Column("until", UtcTimestamp, nullable=False),
)

# `workbench.market.universe` says what the columns mean; `position` keeps the order in which symbols were listed.
universe = Table(
    "universe",
    metadata,
    Column("symbol", String(10), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("exchange", String(32), nullable=False),
    Column("primary_exchange", String(32), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("folder", String(10), nullable=False),
    Column("con_id", Integer),  # what IB said when it was asked last, from here on
    Column("long_name", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("source", String(64), nullable=False),
    Column("qualified_at", UtcTimestamp),
)

coarse_screening_results = Table(
    "coarse_screening_results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", String(64), nullable=False),
    Column("as_of", UtcTimestamp, nullable=False),
    Column("symbol", String(10), nullable=False),
    Column("side", String(5), nullable=False),
    Column("score", Double, nullable=False),
    Column("scores", JSON, nullable=False),  # by timeframe
    Column("reasons", JSON, nullable=False),
    Column("created_at", UtcTimestamp, nullable=False),
    UniqueConstraint("run_id", "symbol", "side"),
    Index("idx_screening_as_of", "as_of"),
    Index("idx_screening_created", "created_at"),
    Index("idx_screening_symbol", "symbol", "as_of"),
)


def _ranked() -> list[Column[Any]]:
    """Return the columns that the watchlist and its history have alike."""
    return [
        Column("rank", Integer, nullable=False),
        Column("side", String(5), nullable=False),
        Column("score", Double, nullable=False),
        Column("since", UtcTimestamp, nullable=False),
        Column("reasons", JSON, nullable=False),
    ]


watchlist_realtime = Table(
    "watchlist_realtime",
    metadata,
    Column("symbol", String(10), primary_key=True),
    *_ranked(),
    Column("timestamp", UtcTimestamp, nullable=False),  # of the list: when it was chosen
    Column("updated_at", UtcTimestamp, nullable=False),  # of the row: when it was scored last
)

watchlist_history = Table(
    "watchlist_history",
    metadata,
    Column("timestamp", UtcTimestamp, primary_key=True),
    Column("symbol", String(10), primary_key=True),
    *_ranked(),
    Index("idx_watchlist_history_symbol", "symbol", "timestamp"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),  # the order in which they were saved
    Column("at", UtcTimestamp, nullable=False),
    Column("symbol", String(10), nullable=False),
    Column("side", String(5), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("timeframe", String(10), nullable=False),  # empty: of no one timeframe
    Column("score", Double),
    Column("message", Text, nullable=False),
    UniqueConstraint("at", "symbol", "side", "kind", "timeframe"),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", String(64), nullable=False),
    Column("notebook", String(255), nullable=False),
    Column("notebook_version", String(64), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("session", Date, nullable=False),
    Column("due", UtcTimestamp, nullable=False),
    Column("started", UtcTimestamp),
    Column("ended", UtcTimestamp),
    Column("outcome", String(16), nullable=False),
    Column("failed_cell", Text),
    Column("error", Text),
    Column("output_path", Text),
    Column("figures", JSON, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("holder", String(255)),  # the scheduler, for people; then what tells whether it still lives
    Column("machine", String(255)),
    Column("pid", Integer),
    Column("process_started", String(32)),
    Column("alive_until", UtcTimestamp),
    UniqueConstraint("job", "due", "attempt"),  # so that of two schedulers one runs it
    Index("idx_job_runs_due", "due"),
)
_is_running = job_runs.c.outcome == "running"
Index(  # no job runs beside itself
    "idx_job_runs_running", job_runs.c.job, unique=True, sqlite_where=_is_running, postgresql_where=_is_running
)

# How the bars of a session that were built live differ from IB's history; `workbench.market.differences` counts them.
session_closings = Table(
    "session_closings",
    metadata,
    Column("session", Date, primary_key=True),
    Column("symbol", String(10), primary_key=True),
    Column("timeframe", String(10), primary_key=True),
    Column("heard", Integer, nullable=False),  # five-second bars in the journal
    *(Column(name, Integer, nullable=False) for name in ("bars", "equal", "price", "far", "volume", "missing")),
    *(Column(name, Integer, nullable=False) for name in ("extra", "partial", "provisional")),
    Column("widest", Double, nullable=False),
    Column("saved_at", UtcTimestamp, nullable=False),
)
