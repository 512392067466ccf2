"""Fixtures every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.ledger.database import Database, sqlite_url
from tests.media import KINDS, FolderMedium, Medium, StoreMedium
from tests.object_store import CREDENTIALS, ObjectStore, running_object_store
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
def object_store_server() -> Iterator[ObjectStore]:
    """An S3 API for the whole session."""
    with running_object_store() as store:
        yield store


@pytest.fixture
def object_store(object_store_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An S3 API with an empty bucket, and what a gate needs to use it in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    object_store_server.new_bucket()
    return object_store_server


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """What the spool lies on."""
    return getattr(request, "param", KINDS[0])


@pytest.fixture
def medium(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Medium:
    """What the spool lies on, in the test's hands."""
    if kind == KINDS[0]:
        return FolderMedium(tmp_path / "spool")
    return StoreMedium(request.getfixturevalue("object_store"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL for the whole session; the test skips where none is installed."""
    with running_server() as server:
        yield server
