"""Create coverage: which intervals of each series were asked for and are stored, as the parts' footers tell."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "coverage",
        sa.Column("symbol", sa.String(10), primary_key=True),
        sa.Column("timeframe", sa.String(10), primary_key=True),
        sa.Column("what_to_show", sa.String(10), primary_key=True),
        sa.Column("begins_at", sa.TIMESTAMP, primary_key=True),
        sa.Column("ends_at", sa.TIMESTAMP, nullable=False),
    )
