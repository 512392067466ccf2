"""Group commit: one transaction for all that wait, each with its own outcome."""

import threading

import pytest
from sqlalchemy.exc import IntegrityError

from service.config import Complete
from service.errors import LedgerUnavailable
from service.ledger import reception
from service.ledger.reception import Arrival, Outcome, ReceivedObject
from service.receive.committer import Committer
from tests.away import away
from tests.factories import facts


def arrival(number, association_id):
    received = ReceivedObject(
        facts=facts(),
        patient_name="Doe^Jane",
        patient_id="PID-1",
        study_date="20260101",
        sop_instance_uid=f"1.2.3.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        instance_number=number,
        frames=1,
        path=f"aa/{number}.dcm",
        sha256=f"{number:064x}",
        size_bytes=1000,
        set_aside=None,
    )
    return Arrival(received, association_id, 1000.0 + number)


class GatedCommitter(Committer):
    """Keeps a commit from going on until it is let through, and notes the groups' sizes."""

    def __init__(self, database):
        super().__init__(database, Complete())
        self.entered, self.through = threading.Event(), threading.Event()
        self.sizes = []

    def _record(self, arrivals):
        self.sizes.append(len(arrivals))
        self.entered.set()
        assert self.through.wait(20)
        return super()._record(arrivals)

    def waiting_for_turn(self):
        with self._changed:
            return len(self._waiting)


@pytest.fixture
def association(database):
    return reception.start_association(
        database, calling_ae_title="CT1", address="127.0.0.1", receiver="host:1", now=1000
    )


def record_together(committer, arrivals):
    """Record the first, and the others while it is held up; results by object."""
    results = {}

    def record(one):
        try:
            results[one.received.sop_instance_uid] = committer.record(one)
        except (IntegrityError, LedgerUnavailable) as error:
            results[one.received.sop_instance_uid] = type(error)

    threads = [threading.Thread(target=record, args=(one,)) for one in arrivals]
    threads[0].start()
    assert committer.entered.wait(20)
    for thread in threads[1:]:
        thread.start()
    while committer.waiting_for_turn() < len(arrivals) - 1:
        threads[-1].join(0.001)
    committer.through.set()
    for thread in threads:
        thread.join(20)
    return list(dict(sorted(results.items())).values())


def series_rows(database):
    with database.read() as connection:
        return connection.exec_driver_sql(
            "SELECT generation, last_object_at, closes_at FROM series"
        ).fetchall()


def test_a_single_sender_commits_alone_and_at_once(database, association):
    committer = Committer(database, Complete())
    assert committer.record(arrival(1, association)) is Outcome.STORED
    assert committer.record(arrival(1, association)) is Outcome.REPEATED
    assert series_rows(database) == [(1, 1001.0, 1031.0)]


def test_all_that_wait_share_a_transaction(database, association):
    committer = GatedCommitter(database)
    results = record_together(committer, [arrival(n, association) for n in range(1, 6)])
    assert results == [Outcome.STORED] * 5
    assert committer.sizes == [1, 4]
    assert series_rows(database) == [(5, 1005.0, 1035.0)]


def test_the_same_object_from_two_senders_is_one(database, association):
    committer = GatedCommitter(database)
    twins = [arrival(2, association), arrival(2, association)]
    record_together(committer, [arrival(1, association), *twins])
    with database.read() as connection:
        tally = "SELECT labels, value FROM tally ORDER BY labels"
        assert connection.exec_driver_sql(tally).fetchall() == [
            ("CT\trepeated", 1.0),
            ("CT\tstored", 2.0),
        ]


def test_one_bad_object_does_not_fail_the_others(database, association):
    committer = GatedCommitter(database)
    unknown_association = 99
    arrivals = [arrival(n, association) for n in (1, 2, 4)]
    arrivals.insert(2, arrival(3, unknown_association))
    results = record_together(committer, arrivals)
    assert results == [Outcome.STORED, Outcome.STORED, IntegrityError, Outcome.STORED]
    assert committer.sizes == [1, 3, 1, 1, 1]
    assert series_rows(database) == [(3, 1004.0, 1034.0)]


def test_a_ledger_that_is_away_is_told_to_all_that_wait_at_once(database, association):
    committer = GatedCommitter(database)
    with away(database):
        results = record_together(committer, [arrival(n, association) for n in range(1, 5)])
    assert results == [LedgerUnavailable] * 4
    assert committer.sizes == [1], "nobody finds it out anew"
    assert committer.record(arrival(1, association)) is Outcome.STORED
