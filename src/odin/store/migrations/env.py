"""Alembic's entry: runs every migration in a transaction of its own on the connection that it is given."""

from alembic import context

from odin.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
