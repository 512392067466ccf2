"""A ledger of the first schema, with what was in it, is brought up to this version's."""

from pathlib import Path

from alembic import command
from alembic.config import Config

import service.ledger
from service.keep import jobs
from service.ledger.database import Database
from service.ledger.tables import Base
from tests.keep.house import House


def test_a_ledger_of_the_first_schema_goes_on(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'iqgate.db'}")
    config = Config()
    migrations = Path(service.ledger.__file__).parent / "migrations"
    config.set_main_option("script_location", str(migrations))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with database.read() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert "job" not in tables.scalars().all()
    with database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tally (name, labels, value) VALUES ('refused', '0xA700', 3)"
        )
    database.upgrade()
    with database.read() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert set(tables.scalars()) == {*Base.metadata.tables, "alembic_version"}
        kept = connection.exec_driver_sql("SELECT value FROM tally").scalar_one()
    assert kept == 3
    house = House(database, tmp_path)
    house.done(1, 1)
    assert all(jobs.run(house.keeping, name) for name in jobs.JOBS)
    database.dispose()
