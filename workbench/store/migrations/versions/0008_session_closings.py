"""Create the record of saved sessions: how what was built live differs from history."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply this migration."""
    counts = ("heard", "bars", "equal", "price", "far", "volume", "missing", "extra", "partial", "provisional")
    op.create_table(
        "session_closings",
        sa.Column("session", sa.Date, primary_key=True),
        sa.Column("symbol", sa.String(10), primary_key=True),
        sa.Column("timeframe", sa.String(10), primary_key=True),
        *(sa.Column(name, sa.Integer, nullable=False) for name in counts),
        sa.Column("widest", sa.Double, nullable=False),
        sa.Column("saved_at", sa.TIMESTAMP, nullable=False),
    )
