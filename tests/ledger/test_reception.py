"""An object's first transaction, re-openings, associations."""

import pytest

from service.config import Complete
from service.ledger import reception
from service.ledger.reception import Outcome
from tests.factories import facts, receive


def rows(database, query):
    with database.read() as connection:
        return connection.exec_driver_sql(query).fetchall()


def test_a_stored_object_opens_its_series(database):
    assert receive(database, 1, now=100) is Outcome.STORED
    assert receive(database, 2, now=105, frames=3) is Outcome.STORED
    assert rows(database, "SELECT state, generation, closes_at FROM series") == [("open", 2, 135.0)]
    assert rows(database, "SELECT count(*) FROM frame WHERE state = 'waiting'") == [(4,)]
    assert rows(database, "SELECT count(*) FROM study") == [(1,)]


def test_the_same_object_again_changes_nothing(database):
    receive(database, 1, now=100)
    before = rows(database, "SELECT * FROM series") + rows(database, "SELECT * FROM frame")
    assert receive(database, 1, now=200) is Outcome.REPEATED
    assert rows(database, "SELECT * FROM series") + rows(database, "SELECT * FROM frame") == before


def test_another_object_under_a_known_uid_is_contested(database):
    receive(database, 1)
    assert receive(database, 1, sha256="f" * 64, frames=5) is Outcome.CONTESTED
    assert rows(database, "SELECT state FROM object") == [("image",), ("contested",)]
    assert rows(database, "SELECT work FROM frame") == [("score",), ("compare",)]


def test_a_set_aside_object_has_no_frames(database):
    receive(database, 1, set_aside="a document")
    assert rows(database, "SELECT state, reason FROM object") == [("set-aside", "a document")]
    assert rows(database, "SELECT count(*) FROM frame") == [(0,)]


def test_one_series_uid_in_two_studies_is_two_series(database):
    receive(database, 1)
    receive(database, 2, facts=facts(study_instance_uid="1.2.3"))
    assert rows(database, "SELECT count(*) FROM series") == [(2,)]


def test_reopened_series_wait_longer_each_time(database):
    complete = Complete(quiet_s=30, reopened_quiet_max_s=100)
    assert [reception.quiet_s(complete, n) for n in range(4)] == [30, 60, 100, 100]
    receive(database, 1, now=0, complete=complete)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE series SET state = 'closed'")
    receive(database, 2, now=50, complete=complete)
    assert rows(database, "SELECT state, reopened, closes_at FROM series") == [("open", 1, 110.0)]


def start(database, calling="CT1", now=0.0):
    return reception.start_association(
        database, calling_ae_title=calling, address="127.0.0.1", receiver="host:1", now=now
    )


def closes_at(database):
    return rows(database, "SELECT closes_at FROM series")[0][0]


def test_a_release_brings_the_closing_forward_for_a_whole_series_sender(database):
    one = start(database)
    receive(database, 1, now=10, association_id=one)
    assert not reception.end_association(database, one, "released", settle_s=None, now=11)
    assert closes_at(database) == 40
    two = start(database)
    receive(database, 2, now=12, association_id=two)
    assert reception.end_association(database, two, "released", settle_s=2, now=13)
    assert closes_at(database) == 15


@pytest.mark.parametrize("end", ["aborted", "other open", "reopened", "other sender"])
def test_otherwise_the_quiet_period_holds(database, end):
    one = start(database)
    receive(database, 1, now=10, association_id=one)
    if end == "other open":
        start(database)
    if end == "other sender":
        receive(database, 2, now=10, association_id=start(database, "CT2"))
    if end == "reopened":
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE series SET reopened = 1")
    how = "aborted" if end == "aborted" else "released"
    assert not reception.end_association(database, one, how, settle_s=2, now=11)
    assert closes_at(database) == 40


def test_the_last_of_parallel_associations_settles_what_all_carried(database):
    one, two = start(database), start(database)
    receive(database, 1, now=10, association_id=one)
    assert not reception.end_association(database, one, "released", settle_s=2, now=11)
    assert reception.end_association(database, two, "released", settle_s=2, now=12)
    assert closes_at(database) == 14
