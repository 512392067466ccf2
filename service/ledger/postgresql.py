"""PostgreSQL as pg8000 is told of it: driver, encryption, and what a session must not do for ever.

The driver is BSD-licensed and pure Python; a ledger URL may say plain `postgresql://`.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.errors import ConfigError


@dataclass(frozen=True)
class Patience:
    """How long a transaction waits for others that hold what it wants, and for the server: one that
    is silent for `answer_s` is taken to be gone."""

    lock_s: float
    answer_s: float


PATIENT = Patience(lock_s=30, answer_s=90)
PROMPT = Patience(lock_s=10, answer_s=15)
"""For what people or peers wait for."""

SESSION = {
    # a host that hangs or drops off the network must not hold its locks
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}
CONNECT_S = 10
DRIVER = "postgresql+pg8000"


def is_postgresql(url: str) -> bool:
    return url.startswith(("postgresql:", "postgresql+", "postgres:"))


def parse(url: str, patience: Patience = PATIENT) -> tuple[URL, dict[str, Any]]:
    """The URL for SQLAlchemy, and what pg8000 is given besides.

    `sslmode` in the query is `disable`, `prefer` (the default), `require` or `verify-full`; the
    last holds the server's certificate against `sslrootcert`, or the system's authorities. `host`
    as a folder in the query is that of a Unix socket. Raises ConfigError.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("ledger_url is not a database URL") from error
    query = {name: str(value) for name, value in parsed.query.items()}
    mode, authorities = query.pop("sslmode", "prefer"), query.pop("sslrootcert", None)
    folder = query.pop("host", None)
    if folder is not None:
        query["unix_sock"] = f"{folder}/.s.PGSQL.{parsed.port or 5432}"
    more: dict[str, Any] = {
        "ssl_context": _encryption(mode, authorities),
        "application_name": "iqgate",
        "timeout": patience.answer_s,
        "startup_params": {"lock_timeout": f"{patience.lock_s:g}s", **SESSION},
    }
    return parsed.set(drivername=DRIVER, query=query), more


def open_socket(url: str) -> socket.socket:
    """A connected socket of our own, which can be waited on. Raises OSError, ConfigError."""
    parsed, _ = parse(url)
    path = parsed.query.get("unix_sock")
    if path is None:
        made = socket.create_connection((parsed.host, parsed.port or 5432), CONNECT_S)
    else:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(CONNECT_S)
        try:
            made.connect(str(path))
        except OSError:
            made.close()
            raise
    made.settimeout(PATIENT.answer_s)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def connection_arguments(url: str) -> dict[str, Any]:
    """What pg8000 is given with such a socket."""
    parsed, more = parse(url)
    encryption = False if "unix_sock" in parsed.query else more["ssl_context"]
    return {
        "user": parsed.username,
        "password": parsed.password,
        "host": parsed.host,
        "database": parsed.database,
        "application_name": more["application_name"],
        "ssl_context": encryption,
    }


def _encryption(mode: str, authorities: str | None) -> ssl.SSLContext | bool | None:
    """As pg8000 reads it: False is none, None is where the server offers it."""
    match mode:
        case "disable":
            return False
        case "prefer":
            return None
        case "require":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        case "verify-full":
            try:
                return ssl.create_default_context(cafile=authorities)
            except OSError as error:
                raise ConfigError(
                    f"ledger_url: sslrootcert = {authorities}: {error.strerror}"
                ) from error
        case _:
            raise ConfigError(
                f"ledger_url: sslmode = {mode} is none of disable, prefer, require, verify-full"
            )


def sqlstate(error: BaseException | None) -> str:
    """The server's code for what went wrong (PostgreSQL, appendix A); empty for anything else."""
    return _told(error).get("C", "")


def reason(error: BaseException) -> str:
    """What the server said; where it said nothing the driver, and the system that failed it."""
    return _told(error).get("M", "") or _unanswered(error)


def _unanswered(error: BaseException) -> str:
    said, cause = str(error), error.__cause__ or error.__context__
    system = cause.strerror or str(cause) if isinstance(cause, OSError) else ""
    return f"{said} ({system})" if system else said


def _told(error: BaseException | None) -> dict[str, str]:
    """The server's answer. A refused connection hides it: closing what the server has closed
    already fails as well, and that is what the driver raises."""
    while error is not None:
        if error.args and isinstance(error.args[0], dict):
            return error.args[0]
        error = error.__cause__ or error.__context__
    return {}
