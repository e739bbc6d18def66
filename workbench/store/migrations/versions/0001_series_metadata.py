"""Create historical_data_metadata, as the specification's SQL has it."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "historical_data_metadata",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timeframe", sa.String(10), nullable=False),
        sa.Column("start_date", sa.TIMESTAMP, nullable=False),
        sa.Column("end_date", sa.TIMESTAMP, nullable=False),
        sa.Column("bar_count", sa.Integer, nullable=False),
        sa.Column("last_updated", sa.TIMESTAMP, nullable=False),
        sa.UniqueConstraint("symbol", "timeframe"),
    )
    op.create_index("idx_metadata_symbol", "historical_data_metadata", ["symbol"])
    op.create_index("idx_metadata_updated", "historical_data_metadata", [sa.text("last_updated DESC")])
