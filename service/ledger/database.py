"""Opening the database: every commit durable, the schema up to date, writers in turn.

On SQLite every writing transaction starts with BEGIN IMMEDIATE: a deferred transaction that
reads and then writes fails with SQLITE_BUSY at once, whatever `busy_timeout` says. On PostgreSQL
writers run side by side and take turns by name (`turns`).

Here, and nowhere else, is found out that the ledger is away: its server is gone or full, its disk
is, or others hold its lock for too long. Whatever fails for that raises LedgerUnavailable, and the
log says once that it is away, and once that it is back.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree

from service.errors import ConfigError, LedgerUnavailable
from service.ledger import postgresql, turns
from service.ledger.postgresql import PATIENT, Patience
from service.log import line

log = logging.getLogger("iqgate.ledger")

TRIES = 5
_LOST_OUT = ("40001", "40P01")
"""serialization_failure, deadlock_detected: the transaction was rolled back, and may run again."""
_OUT_OF_SERVICE = ("08", "25006", "25P03", "53", "55", "57", "58")
"""Codes, or their classes, by which the server says that it cannot serve now, whatever is asked of
it. 25006: it is a standby, or read-only; 25P03: it ended a transaction that waited for us."""
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")
"""What SQLite says of a file that can be opened later."""
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """A connection pool with the two kinds of transaction the ledger uses."""

    def __init__(self, url: str, patience: Patience = PATIENT) -> None:
        """Open `url` (an SQLAlchemy URL). Raises ConfigError when it cannot be opened as it is
        configured, LedgerUnavailable where it may be later."""
        self.url = url
        self._standing = threading.Lock()
        self._away_since: float | None = None
        try:
            self.engine = _engine(url, patience)
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
                if self.shared:
                    _check_durable(connection)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"ledger_url needs {error.name}: pip install 'iqgate[postgresql]'"
            ) from error
        except (DBAPIError, OSError, ArgumentError) as error:
            if _may_pass(error):
                away = f"{shown(url)} does not answer: {_reason(error)}"
                raise LedgerUnavailable(away) from error
            why = f"cannot be opened: {_reason(error)}"
            raise ConfigError(f"ledger_url = {shown(url)} {why}") from error
        event.listen(self.engine, "handle_error", self._failed)

    @property
    def shared(self) -> bool:
        """Whether writers run side by side, on other hosts as well."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A writing transaction: committed at the end of the block, rolled back on an error.
        Raises LedgerUnavailable; what was written may be there or not then."""
        with self._connected() as connection:
            if not self.shared:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
        self._written()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A reading transaction: one consistent snapshot. Raises LedgerUnavailable."""
        with self._connected() as connection:
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
        with self._connected() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            mine = connection.execute(select(func.pg_try_advisory_lock(number))).scalar_one()
            try:
                yield mine
            finally:
                if mine:
                    connection.execute(select(func.pg_advisory_unlock(number)))

    def upgrade(self) -> None:
        """Bring the schema to this version's (Alembic), creating it where there is none."""
        # here, because five of six processes never need it, and a quarter of their start was it
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            turns.take(connection, "schema")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def dispose(self) -> None:
        self.engine.dispose()

    def _connected(self) -> Connection:
        """A connection. Raises LedgerUnavailable; the driver's own errors go through `_failed`."""
        try:
            try:
                return self.engine.connect()
            except OSError:
                # one of an earlier server's, which the driver does not know for what it is
                self.engine.dispose()
                return self.engine.connect()
        except (OSError, NoneFree) as error:
            raise self._away(error) from error

    def _failed(self, context: ExceptionContext) -> LedgerUnavailable | None:
        """Called with every error of the driver; what is raised instead, if anything."""
        if context.is_pre_ping:
            context.is_disconnect = True  # whatever it is: a new connection is tried
            return None
        error = context.sqlalchemy_exception or context.original_exception
        if isinstance(error, OSError):
            context.is_disconnect = True  # an answer may still come, to nobody's question
        elif not (isinstance(error, DBAPIError) and _is_away(error)):
            return None
        return self._away(error)

    def _away(self, error: BaseException) -> LedgerUnavailable:
        with self._standing:
            first, self._away_since = self._away_since is None, self._away_since or time.monotonic()
        if first:
            log.error(line("ledger-away", why=_reason(error)))
        return LedgerUnavailable(f"the ledger is away: {_reason(error)}")

    def _written(self) -> None:
        """It is back, if it was away: one that is full or locked can be read all the time."""
        if self._away_since is None:
            return
        with self._standing:
            since, self._away_since = self._away_since, None
        if since is not None:
            log.warning(line("ledger-back", away_s=f"{time.monotonic() - since:.1f}"))


def upgrade(url: str) -> None:
    """Bring the schema of a ledger up to date that nothing else is to be done with yet."""
    database = Database(url)
    try:
        database.upgrade()
    finally:
        database.dispose()


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
    """Whether a ledger that cannot be opened may be later; not so with a wrong path, user,
    password, database or certificate."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OSError)
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorname.startswith(_PASSING)
    return not isinstance(error.orig, ssl.SSLError) and _is_away(error)


def _is_away(error: DBAPIError) -> bool:
    """Whether the database as a whole refused (locked, full, gone), not what was asked of it."""
    code = postgresql.sqlstate(error.orig)
    if code:
        return code.startswith(_OUT_OF_SERVICE)
    # SQLite raises the one, a lost connection to PostgreSQL is the other
    return isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def _engine(url: str, patience: Patience) -> Engine:
    # a failed statement must not quote patient names
    common: dict[str, Any] = {"hide_parameters": True, "pool_timeout": patience.lock_s}
    if postgresql.is_postgresql(url):
        parsed, more = postgresql.parse(url, patience)
        # pre-ping: a server that was restarted costs nobody a transaction
        return create_engine(parsed, connect_args=more, pool_pre_ping=True, **common)
    engine = create_engine(url, **common)
    if engine.dialect.name != "sqlite":
        raise ConfigError(f"ledger_url = {shown(url)}: only SQLite and PostgreSQL are supported")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # autocommit at the driver: transactions begin where `write` and `read` say so
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {patience.lock_s * 1000:.0f}")
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


def _reason(error: BaseException) -> str:
    own = error.orig if isinstance(error, DBAPIError) else None
    return postgresql.reason(own or error)


def shown(url: str) -> str:
    """The URL as people may see it: without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the given text"
