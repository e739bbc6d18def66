"""Create the tables by which several processes keep IB's limits together."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "request_budgets",
        sa.Column("gateway", sa.String(255), primary_key=True),
        sa.Column("account", sa.String(64), primary_key=True),
        sa.Column("cold_until", sa.Double, nullable=False),
    )
    op.create_table(
        "request_bookings",
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("gateway", sa.String(255), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("sent", sa.Double, nullable=False),
        sa.Column("held_until", sa.Double, nullable=False),
        sa.Column("contract", sa.String(64), nullable=False),
        sa.Column("exchange", sa.String(32), nullable=False),
        sa.Column("what_to_show", sa.String(32), nullable=False),
        sa.Column("bar_seconds", sa.Integer, nullable=False),
        sa.Column("rest", sa.String(128), nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
    )
    op.create_index("idx_request_bookings_sent", "request_bookings", ["gateway", "account", "sent"])
    op.create_table(
        "request_sizes",
        sa.Column("gateway", sa.String(255), primary_key=True),
        sa.Column("timeframe", sa.String(10), primary_key=True),
        sa.Column("bars", sa.Integer, nullable=False),
    )
