"""Alembic's entry point. It runs on the connection it is given: `sql.migrate` is the only caller."""

from alembic import context

from acclimate.rollout.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
