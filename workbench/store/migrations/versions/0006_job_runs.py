"""Create the record of the scheduler's runs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply this migration."""
    op.create_table(
        "job_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("notebook", sa.String(255), nullable=False),
        sa.Column("notebook_version", sa.String(64), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("session", sa.Date, nullable=False),
        sa.Column("due", sa.TIMESTAMP, nullable=False),
        sa.Column("started", sa.TIMESTAMP),
        sa.Column("ended", sa.TIMESTAMP),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("failed_cell", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("output_path", sa.Text),
        sa.Column("figures", sa.JSON, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String(255)) for name in ("holder", "machine")),
        sa.Column("pid", sa.Integer),
        sa.Column("process_started", sa.String(32)),
        sa.Column("alive_until", sa.TIMESTAMP),
        sa.UniqueConstraint("job", "due", "attempt"),
    )
    op.create_index("idx_job_runs_due", "job_runs", ["due"])
    running = sa.text("outcome = 'running'")
    op.create_index(
        "idx_job_runs_running", "job_runs", ["job"], unique=True, sqlite_where=running, postgresql_where=running
    )
