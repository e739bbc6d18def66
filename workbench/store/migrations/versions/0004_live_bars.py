"""Create the live journal, and who records what."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply this migration."""
    numbers = ("open", "high", "low", "close", "volume")
    op.create_table(
        "live_bars",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timestamp", sa.TIMESTAMP, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in numbers),
        *(sa.Column(name, sa.Double) for name in ("average", "bar_count")),
        sa.Column("received_at", sa.TIMESTAMP, nullable=False),
        sa.UniqueConstraint("symbol", "timestamp"),
    )
    op.create_table(
        "live_recorders",
        sa.Column("symbol", sa.String(10), primary_key=True),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("until", sa.TIMESTAMP, nullable=False),
    )
