"""Say of each recorder which process it is, and of each live bar whether it was filled; never give an id again.

SQLite gives the ids of deleted rows again unless told otherwise: who follows an emptied journal would miss what comes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply this migration."""
    op.drop_table("live_recorders")
    op.create_table(
        "live_recorders",
        sa.Column("symbol", sa.String(10), primary_key=True),
        *(sa.Column(name, sa.String(32), nullable=False) for name in ("token", "started")),
        *(sa.Column(name, sa.String(255), nullable=False) for name in ("holder", "machine")),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("until", sa.TIMESTAMP, nullable=False),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE live_bars ALTER COLUMN id TYPE BIGINT")
        op.execute("ALTER SEQUENCE live_bars_id_seq AS BIGINT")
        op.add_column("live_bars", sa.Column("from_history", sa.Boolean, nullable=False, server_default=sa.false()))
    else:
        _copy_sqlite()


def _copy_sqlite() -> None:
    numbers = ("open", "high", "low", "close", "volume")
    op.rename_table("live_bars", "live_bars_before")
    op.create_table(
        "live_bars",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timestamp", sa.TIMESTAMP, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in numbers),
        *(sa.Column(name, sa.Double) for name in ("average", "bar_count")),
        sa.Column("received_at", sa.TIMESTAMP, nullable=False),
        sa.Column("from_history", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.UniqueConstraint("symbol", "timestamp"),
        sqlite_autoincrement=True,
    )
    columns = f"id, symbol, timestamp, {', '.join(numbers)}, average, bar_count, received_at"
    op.execute(f"INSERT INTO live_bars ({columns}) SELECT {columns} FROM live_bars_before")  # noqa: S608  our own names
    op.drop_table("live_bars_before")
