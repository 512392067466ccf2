"""Whether a sender's series stay closed, counted by its AE title."""

from service.ledger import reading, reception, senders
from tests.factories import receive
from tests.ledger.test_closing import close, score_all


def association(database, title):
    return reception.start_association(
        database, calling_ae_title=title, address="::1", receiver="host:1", now=1.0
    )


def counted(database):
    with database.read() as connection:
        return [(one.ae_title, one.closed, one.reopened) for one in senders.senders(connection)]


def test_a_late_image_counts_against_its_sender(database):
    receive(database, 1, association_id=association(database, "CT1"))
    score_all(database)
    assert close(database)
    assert counted(database) == [("CT1", 1, 0)]
    receive(database, 2, association_id=association(database, "ROUTER"))
    assert counted(database) == [("CT1", 1, 0), ("ROUTER", 0, 1)]
    score_all(database)
    assert close(database)
    assert counted(database) == [("CT1", 2, 0), ("ROUTER", 1, 1)]
    lines = reading.status_lines(database, 1000.0)
    assert "sender ROUTER           series closed 1, of these opened again 1 (100.0%)" in lines


def test_documents_do_not_count(database):
    receive(database, 1, set_aside="Encapsulated PDF objects are not assessed")
    assert close(database)
    receive(database, 2, set_aside="Encapsulated PDF objects are not assessed")
    assert counted(database) == []


def test_names_are_bounded(database, monkeypatch):
    monkeypatch.setattr(senders, "MOST_SENDERS", 2)
    titles = ["A", "B", "C", "D", "A"]
    for number, title in enumerate(titles, 1):
        receive(database, number, association_id=association(database, title))
        score_all(database)
        assert close(database)
    # every closing counts for all who sent part of the series
    assert [name for name, *_ in counted(database)] == ["A", "B", "C", "other"]
