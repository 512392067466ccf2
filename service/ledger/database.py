"""Opening the database: every commit durable, the schema up to date, writers in turn.

On SQLite every writing transaction starts with BEGIN IMMEDIATE: a deferred transaction that
reads and then writes fails with SQLITE_BUSY at once, whatever `busy_timeout` says. On PostgreSQL
writers run side by side and take turns by name (`turns`).
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from service.errors import ConfigError, LedgerUnavailable
from service.ledger import postgresql, turns

BUSY_TIMEOUT_S = 30
TRIES = 5
_LOST_OUT = ("40001", "40P01")
"""serialization_failure, deadlock_detected: the transaction was rolled back, and may run again."""
_OUT_OF_SERVICE = ("08", "53", "55", "57", "58")
"""Classes of codes by which the server says that it cannot serve now, whatever is asked of it."""
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """A connection pool with the two kinds of transaction the ledger uses."""

    def __init__(self, url: str) -> None:
        """Open `url` (an SQLAlchemy URL). Raises ConfigError when it cannot be opened as it is
        configured, LedgerUnavailable where its server may answer later."""
        self.url = url
        try:
            self.engine = _engine(url)
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
                if self.shared:
                    _check_durable(connection)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"ledger_url needs {error.name}: pip install 'iqgate[postgresql]'"
            ) from error
        except (DBAPIError, OSError, ArgumentError) as error:
            if postgresql.is_postgresql(url) and _may_pass(error):
                raise LedgerUnavailable(
                    f"{_shown(url)} does not answer: {_reason(error)}"
                ) from error
            why = f"cannot be opened: {_reason(error)}"
            raise ConfigError(f"ledger_url = {_shown(url)} {why}") from error

    @property
    def shared(self) -> bool:
        """Whether writers run side by side, on other hosts as well."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A writing transaction: committed at the end of the block, rolled back on an error."""
        with self.engine.connect() as connection:
            if not self.shared:
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
            connection.exec_driver_sql(_SNAPSHOT if self.shared else "BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether nobody else, on any host, is within a block of this name; who dies leaves it.

        It spares work done twice and guards nothing: on SQLite everybody is told to go ahead.
        """
        if not self.shared:
            yield True
            return
        number = turns.key(name)
        with self.engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            mine = connection.execute(select(func.pg_try_advisory_lock(number))).scalar_one()
            try:
                yield mine
            finally:
                if mine:
                    connection.execute(select(func.pg_advisory_unlock(number)))

    def upgrade(self) -> None:
        """Bring the schema to this version's (Alembic), creating it where there is none."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            turns.take(connection, "schema")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def dispose(self) -> None:
        self.engine.dispose()


def retried(step: Callable[P, T]) -> Callable[P, T]:
    """Run a transaction again that the database rolled back in favour of another.

    For functions that consist of one transaction. Turns keep it from happening; should two wait
    in a circle all the same, this is what is left.
    """

    @functools.wraps(step)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return step(*args, **kwargs)
            except DBAPIError as error:
                if postgresql.sqlstate(error.orig) not in _LOST_OUT:
                    raise
        return step(*args, **kwargs)

    return again


def _may_pass(error: Exception) -> bool:
    """Whether a server may take later what it does not take now: it is not reached, or has a code
    that says so; not so a wrong user, password, database or certificate."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OSError)
    code = postgresql.sqlstate(error.orig)
    return code[:2] in _OUT_OF_SERVICE if code else not isinstance(error.orig, ssl.SSLError)


def out_of_service(error: DBAPIError) -> bool:
    """Whether the database as a whole refused (locked, full, gone), not what was asked of it."""
    return (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or postgresql.sqlstate(error.orig)[:2] in _OUT_OF_SERVICE
    )


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def _engine(url: str) -> Engine:
    if postgresql.is_postgresql(url):
        parsed, more = postgresql.parse(url)
        # pre-ping: a server that was restarted costs nobody a transaction
        return create_engine(parsed, connect_args=more, hide_parameters=True, pool_pre_ping=True)
    # a failed statement must not quote patient names
    engine = create_engine(url, hide_parameters=True)
    if engine.dialect.name != "sqlite":
        raise ConfigError(f"ledger_url = {_shown(url)}: only SQLite and PostgreSQL are supported")

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


def _check_durable(connection: Connection) -> None:
    """An object is acknowledged once its rows are committed: a commit must be durable."""
    synchronous = connection.execute(select(func.current_setting("synchronous_commit")))
    if synchronous.scalar_one() == "off":
        raise ConfigError(
            "ledger_url: the server's synchronous_commit is off, so it forgets what it has "
            "confirmed; switch it on for this database (ALTER DATABASE … SET)"
        )


def _reason(error: Exception) -> str:
    own = error.orig if isinstance(error, DBAPIError) else None
    return postgresql.reason(own or error)


def _shown(url: str) -> str:
    """The URL without its password."""
    try:
        return repr(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return "the given text"
