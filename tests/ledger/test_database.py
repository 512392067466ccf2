"""The schema is what the tables say; writers take turns."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from service.errors import ConfigError, LedgerUnavailable
from service.ledger import reception, tally
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


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("mysql://u@h/d", ConfigError, "only SQLite and PostgreSQL|needs"),
        ("postgresql://u:secret@/d?host=/tmp&sslmode=maybe", ConfigError, "sslmode = maybe"),
        ("postgresql://u@h/d?sslmode=verify-full&sslrootcert=/no/ca.pem", ConfigError, "ca.pem"),
        ("postgresql://u:secret@/d?host=/tmp/no-server", LedgerUnavailable, "does not answer"),
        ("no url", ConfigError, "ledger_url"),
    ],
)
def test_urls_that_cannot_be_used_say_why_and_keep_their_password(url, error, words):
    with pytest.raises(error, match=words) as raised:
        Database(url)
    assert "secret" not in str(raised.value)


def test_what_the_server_refuses_for_good_is_the_configuration_s(postgresql_server):
    url = postgresql_server.url
    with pytest.raises(ConfigError, match="does not exist"):
        Database(url.replace("/ledger?", "/nowhere?"))
    postgresql_server.run("CREATE DATABASE forgetful")
    postgresql_server.run("ALTER DATABASE forgetful SET synchronous_commit = off")
    with pytest.raises(ConfigError, match="synchronous_commit is off"):
        Database(url.replace("/ledger?", "/forgetful?"))


def test_a_server_that_was_restarted_costs_no_transaction(postgresql_server):
    database = Database(postgresql_server.emptied())
    reception.record_refusal(database, 0xA700)
    postgresql_server.emptied()  # which ends every connection
    reception.record_refusal(database, 0xA700)
    with database.read() as connection:
        assert tally.read(connection, "refused") == {("0xA700",): 1.0}
    database.dispose()


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
