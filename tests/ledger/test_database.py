"""The schema is what the tables say; writers take turns."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from service.errors import ConfigError
from service.ledger import reception
from service.ledger.database import Database
from service.ledger.tables import Base


def test_migrations_lead_to_the_tables(database):
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_is_harmless(database):
    database.upgrade()


def test_an_unusable_url_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"ledger_url"):
        Database(f"sqlite:///{tmp_path}/no/such/folder/x.db")


def test_writers_take_turns_without_busy_errors(database):
    def work():
        for _ in range(25):
            reception.record_refusal(database, 0xA700)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        value = connection.exec_driver_sql("SELECT value FROM tally").scalar_one()
    assert value == 100
