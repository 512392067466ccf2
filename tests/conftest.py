"""Fixtures every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.ledger.database import Database, sqlite_url
from tests.postgresql import Server, running_server

SHARED = Path(os.environ.get("IQGATE_SHARED", Path(__file__).parents[2] / "shared")) / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real series and hostile files; the test skips where they are absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}; set IQGATE_SHARED to the folder that holds data/")
    return SHARED


@pytest.fixture
def database(tmp_path: Path):
    """An empty ledger, its schema up to date."""
    database = Database(sqlite_url(tmp_path / "iqgate.db"))
    database.upgrade()
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL for the whole session; the test skips where none is installed."""
    with running_server() as server:
        yield server
