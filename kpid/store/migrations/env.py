"""Alembic's entry: runs the migrations on the connection that ``kpid.store.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from kpid.store.tables import metadata

if (connection := context.config.attributes["connection"]) is not None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
