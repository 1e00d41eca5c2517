"""What Alembic runs: the migrations on the connection that `store.migrate` hands over.

The caller owns the transaction: all steps and the entry about them commit together, or nothing does.
"""

from __future__ import annotations

from alembic import context

from freehold.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
