"""A ledger that is away: told as what it is, in bounded time, and once; and what is right when it
is back."""

from __future__ import annotations

import signal
import time

import pytest
from sqlalchemy import event

from service.errors import LedgerUnavailable
from service.ledger import closing, overdue, reception, roles, tally
from service.ledger.database import Database, sqlite_url
from service.ledger.postgresql import Patience
from tests.factories import receive
from tests.ledger.test_closing import rows, score_all

HASTY = Patience(lock_s=0.2, answer_s=1)


def count(database):
    reception.record_refusal(database, 0xA700)
    with database.read() as connection:
        return tally.read(connection, "refused")["0xA700",]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_a_server_that_is_stopped_is_waited_for(postgresql_server, caplog, how):
    database = Database(postgresql_server.emptied())
    assert count(database) == 1
    postgresql_server.stop(how)
    try:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(LedgerUnavailable, match="the ledger is away: "):
                count(database)
            with pytest.raises(LedgerUnavailable), database.alone("a"):
                pass
            assert time.monotonic() - began < 2
        with pytest.raises(LedgerUnavailable, match=r"does not answer: .*(No such file|refused)"):
            Database(postgresql_server.url)
    finally:
        postgresql_server.start()
    assert count(database) == 2
    told = [one.message.split()[0] for one in caplog.records if one.name == "iqgate.ledger"]
    assert told == ["ledger-away", "ledger-back"]
    database.dispose()


def test_a_transaction_that_the_server_s_end_cuts_off_is_told_as_away(postgresql_server):
    database = Database(postgresql_server.emptied())
    try:
        with pytest.raises(LedgerUnavailable):
            _cut_off(database, lambda: postgresql_server.stop(signal.SIGQUIT))
    finally:
        postgresql_server.start()
    assert count(database) == 1, "nothing of it was committed"
    database.dispose()


def test_a_server_that_is_silent_is_taken_to_be_away_in_time(postgresql_server):
    database = Database(postgresql_server.emptied(), HASTY)
    assert count(database) == 1
    frozen = postgresql_server.processes()
    postgresql_server.signal(frozen, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            count(database)
        assert time.monotonic() - began < 10
    finally:
        postgresql_server.signal(frozen, signal.SIGCONT)
    assert count(database) == 2
    database.dispose()


def test_a_lock_that_others_hold_for_too_long(database):
    hasty = Database(database.url, HASTY)
    receive(database, 1)
    count(database)
    with database.write() as connection:
        tally.count(connection, "refused", "0xA700")
        with pytest.raises(LedgerUnavailable, match="lock"):
            count(hasty)
    assert count(hasty) == 3
    hasty.dispose()


def test_a_server_that_became_a_standby(postgresql_server):
    """As after a failover, until its name leads to the other one; here it is made read-only."""
    setting = "ALTER DATABASE ledger {} default_transaction_read_only"
    postgresql_server.run(setting.format("SET") + " = on")
    database = Database(postgresql_server.url)
    try:
        with pytest.raises(LedgerUnavailable, match="read-only transaction"):
            count(database)
    finally:
        postgresql_server.run(setting.format("RESET"))
        database.dispose()


def test_a_disk_that_is_full(tmp_path, caplog):
    database = Database(sqlite_url(tmp_path / "iqgate.db"))
    database.upgrade()

    @event.listens_for(database.engine, "checkout")
    def fill(connection, _record, _proxy):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(LedgerUnavailable, match="the ledger is away: database or disk is full"):
        _receive_many(database)
    assert rows(database, "SELECT state FROM series") == [("open",)], "it can be read"
    known = rows(database, "SELECT count(*) FROM object")[0][0]
    with pytest.raises(LedgerUnavailable):
        receive(database, known, association_id=1)
    assert caplog.text.count("ledger-away") == 1
    event.remove(database.engine, "checkout", fill)
    database.engine.dispose()
    assert rows(database, "SELECT generation FROM series") == [(known,)]
    receive(database, 1000)
    assert rows(database, "SELECT generation FROM series") == [(known + 1,)]
    assert caplog.text.count("ledger-back") == 1
    database.dispose()


def _cut_off(database, end_server):
    with database.write() as connection:
        tally.count(connection, "refused", "0xA700")
        end_server()
        tally.count(connection, "refused", "0xA700")


def _receive_many(database):
    for number in range(1000):
        receive(database, number)


def test_a_process_is_seen_again_whose_row_was_cleared_away(database):
    """As the first one does that starts after an outage: all others were not seen for long."""
    seen = {"started_at": 5.0, "ready": True, "detail": "ct"}
    roles.enter(database, "host:1", "receive", 5.0)
    roles.see(database, "host:1", "receive", now=10.0, **seen)
    roles.enter(database, "host:2", "score", 1000.0)
    assert rows(database, "SELECT process FROM role") == [("host:2",)]
    roles.see(database, "host:1", "receive", now=1001.0, **seen)
    query = "SELECT process, role, started_at, seen_at, ready, detail FROM role ORDER BY process"
    assert rows(database, query)[0] == ("host:1", "receive", 5.0, 1001.0, True, "ct")


def test_a_process_takes_the_place_of_dead_ones(database):
    """Not of what another host runs, nor of other roles, whose loss is to be seen."""
    runs = {"host:1": False, "host:2": True, "host:3": False}
    for process, role in (("host:1", "score"), ("host:2", "score"), ("other:1", "score")):
        roles.enter(database, process, role, 1000.0)
    roles.enter(database, "host:3", "deliver", 1000.0)
    roles.enter(database, "host:4", "score", 1001.0, runs.get)
    assert rows(database, "SELECT process FROM role ORDER BY process") == [
        ("host:2",), ("host:3",), ("host:4",), ("other:1",),
    ]  # fmt: skip


def test_open_series_wait_a_quiet_period_after_an_outage(database):
    receive(database, 1, now=1000)
    score_all(database)
    assert closing.due_series(database, 1100) == [1]
    assert overdue.quiet_anew(database, 30, 1100) == 1
    assert overdue.quiet_anew(database, 20, 1100) == 0, "never brought forward"
    assert closing.due_series(database, 1129) == []
    assert closing.due_series(database, 1130) == [1]
