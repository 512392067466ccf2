"""Alembic's entry: migrations run on the connection the ledger hands over."""

from alembic import context

from service.ledger import hint_tables, keeping_tables  # noqa: F401 their tables belong to it
from service.ledger.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
