"""Opening the database: one writer at a time, every commit durable, the schema up to date.

On SQLite every writing transaction starts with BEGIN IMMEDIATE: a deferred transaction that
reads and then writes fails with SQLITE_BUSY at once, whatever `busy_timeout` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from service.errors import ConfigError

BUSY_TIMEOUT_S = 30


class Database:
    """A connection pool with the two kinds of transaction the ledger uses."""

    def __init__(self, url: str) -> None:
        """Open `url` (an SQLAlchemy URL). Raises ConfigError when it cannot be opened."""
        self.url = url
        try:
            self.engine = _engine(url)
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except (DBAPIError, OSError) as error:
            raise ConfigError(f"ledger.url = {url!r} cannot be opened: {error}") from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A writing transaction: committed at the end of the block, rolled back on an error."""
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A reading transaction: one consistent snapshot."""
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    def upgrade(self) -> None:
        """Bring the schema to this version's (Alembic), creating it where there is none."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def dispose(self) -> None:
        self.engine.dispose()


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def _engine(url: str) -> Engine:
    # a failed statement must not quote patient names
    engine = create_engine(url, hide_parameters=True)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            # autocommit at the driver: transactions begin where `write` and `read` say so
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()

    return engine
