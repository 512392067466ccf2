"""The ledger's tests are one conformance suite: every one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.ledger.database import Database, sqlite_url
from tests.postgresql import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty ledger, its schema up to date."""
    if request.param == "sqlite":
        ledger = Database(sqlite_url(tmp_path / "iqgate.db"))
        ledger.upgrade()
        yield ledger
        ledger.dispose()
        return
    server: Server = request.getfixturevalue("postgresql_server")
    ledger = Database(server.emptied())
    yield ledger
    ledger.dispose()
