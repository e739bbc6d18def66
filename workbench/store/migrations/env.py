"""Alembic's entry: run the migrations on the connection that the caller hands in."""

from alembic import context

from workbench.store.tables import metadata


def run() -> None:
    """Run the migrations."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


if hasattr(context, "config"):  # as it is while Alembic runs this file; not when pytest looks for doctests in it
    run()
