"""Alembic's entry: run the migrations on the connection that the caller hands in."""

from alembic import context

from workbench.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
