"""A real PostgreSQL, started by the tests: one server a session, emptied for each test."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pg8000.native
import pytest

from service.ledger.database import Database
from tests.peers import REQUIRED, free_port
from tests.waiting import wait_for

LEDGER = "ledger"
EMPTY = """DO $$ DECLARE one text; BEGIN
    SET LOCAL session_replication_role = replica;  -- foreign keys are not looked at
    FOR one IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP EXECUTE format('DELETE FROM %I', one); END LOOP;
END $$"""


@dataclass
class Server:
    """A running server that listens on a Unix socket in `folder`, and on `port` of localhost."""

    folder: Path
    command: list[str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://iqgate@:{self.port}/{LEDGER}?host={self.folder}"

    @property
    def encrypted_url(self) -> str:
        """By TCP and TLS, as between hosts."""
        return (
            f"postgresql://iqgate@localhost:{self.port}/{LEDGER}"
            f"?sslmode=verify-full&sslrootcert={self.folder / 'server.crt'}"
        )

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Statements, each a transaction of its own."""
        connection = pg8000.native.Connection(
            "iqgate", database=database, unix_sock=f"{self.folder}/.s.PGSQL.{self.port}"
        )
        try:
            for statement in statements:
                connection.run(statement)
        finally:
            connection.close()

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        wait_for("PostgreSQL answers", self.answers, 60)

    def stop(self, how: signal.Signals) -> None:
        """SIGINT: fast, connections are ended; SIGQUIT: at once, as in a crash; SIGKILL."""
        assert self.process is not None
        own = self.processes()
        self.process.send_signal(how)
        self.process.wait(60)
        wait_for("its processes are gone", lambda: not any(map(_runs, own)), 30)

    def processes(self) -> list[int]:
        """The server's own process and those of its connections."""
        assert self.process is not None
        found = [self.process.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # gone meanwhile
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return found

    @staticmethod
    def signal(processes: Sequence[int], number: signal.Signals) -> None:
        """Signal processes; one that ended by itself is no error."""
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")
        try:
            self.run("SELECT 1")
        except pg8000.exceptions.Error:
            return False
        return True

    def emptied(self) -> str:
        """The URL of the ledger, its schema up to date, its tables empty, nobody connected.

        Emptying takes 20 ms where a database made from a template, or TRUNCATE, takes a second.
        """
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            EMPTY,
            "SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'",
            database=LEDGER,
        )
        return self.url


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server; a clear skip where PostgreSQL is not installed, a failure where peers are
    required. Its files are not flushed: what a power cut does to it is not tested here."""
    programs = _programs()
    # pytest's own folders are closed to the user that the server has to run as
    folder = Path(tempfile.mkdtemp(prefix="iqgate-postgresql-", dir="/tmp"))
    data = folder / "data"
    as_user = _as_unprivileged(folder)
    try:
        options = ["--username=iqgate", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        subprocess.run(
            [*as_user, programs / "initdb", f"--pgdata={data}", "--locale=C", *options],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )
        port = free_port()
        _certify(folder, as_user)
        settings = {
            "listen_addresses": "localhost", "port": str(port),
            "unix_socket_directories": str(folder),
            "ssl": "on", "ssl_cert_file": f"{folder}/server.crt",
            "ssl_key_file": f"{folder}/server.key",
            "fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB",
            "autovacuum": "off", "deadlock_timeout": "200ms",
        }  # fmt: skip
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*as_user, str(programs / "postgres"), "-D", str(data), *given]
        server = Server(folder, command, port)
        try:
            server.start()
            server.run(f"CREATE DATABASE {LEDGER}")
            database = Database(server.url)
            database.upgrade()
            database.dispose()
            yield server
        finally:
            server.stop(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _certify(folder: Path, as_user: list[str]) -> None:
    """A key and a certificate for localhost, of its own authority."""
    subprocess.run(
        [*as_user, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", folder / "server.key", "-out", folder / "server.crt"],
        check=True, stderr=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip


def _runs(pid: int) -> bool:
    """Whether a process runs; one that is dead and not waited for does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def _programs() -> Path:
    """The folder of the newest installed server's programs."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0,
    )
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        message = "no PostgreSQL server is installed (Debian package postgresql)"
        if REQUIRED:
            pytest.fail(message)
        pytest.skip(message)
    return found[-1].parent if found else Path(str(on_path)).parent


def _as_unprivileged(folder: Path) -> list[str]:
    """What to put before a server's command: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    names = {one.pw_name for one in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
