"""Create the universe, what a screen found, the watchlist with its history, and alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply this migration."""
    _create_universe()
    _create_screening_results()
    _create_watchlists()
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.TIMESTAMP, nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("side", sa.String(5), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("timeframe", sa.String(10), nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("message", sa.Text, nullable=False),
        sa.UniqueConstraint("at", "symbol", "side", "kind", "timeframe"),
    )


def _create_universe() -> None:
    op.create_table(
        "universe",
        sa.Column("symbol", sa.String(10), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("exchange", sa.String(32), nullable=False),
        sa.Column("primary_exchange", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("folder", sa.String(10), nullable=False),
        sa.Column("con_id", sa.Integer),
        sa.Column("long_name", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("qualified_at", sa.TIMESTAMP),
    )


def _create_screening_results() -> None:
    table = "coarse_screening_results"
    op.create_table(
        table,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("as_of", sa.TIMESTAMP, nullable=False),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("side", sa.String(5), nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("scores", sa.JSON, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("created_at", sa.TIMESTAMP, nullable=False),
        sa.UniqueConstraint("run_id", "symbol", "side"),
    )
    op.create_index("idx_screening_as_of", table, ["as_of"])
    op.create_index("idx_screening_created", table, ["created_at"])
    op.create_index("idx_screening_symbol", table, ["symbol", "as_of"])


def _create_watchlists() -> None:
    op.create_table(
        "watchlist_realtime",
        sa.Column("symbol", sa.String(10), primary_key=True),
        *_ranked(),
        sa.Column("timestamp", sa.TIMESTAMP, nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP, nullable=False),
    )
    op.create_table(
        "watchlist_history",
        sa.Column("timestamp", sa.TIMESTAMP, primary_key=True),
        sa.Column("symbol", sa.String(10), primary_key=True),
        *_ranked(),
    )
    op.create_index("idx_watchlist_history_symbol", "watchlist_history", ["symbol", "timestamp"])


def _ranked() -> list[sa.Column]:  # type: ignore[type-arg]
    return [
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("side", sa.String(5), nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("since", sa.TIMESTAMP, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
    ]
