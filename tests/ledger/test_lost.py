"""Whose associations are lost: those of dead receivers, and of nobody else."""

import pytest

from service.ledger import reception, roles
from service.ledger.lost import LOST_AFTER_S, end_lost_associations


def start(database, receiver):
    reception.start_association(
        database, calling_ae_title="CT1", address="127.0.0.1", receiver=receiver, now=0
    )


def ends(database):
    with database.read() as connection:
        return connection.exec_driver_sql('SELECT ended_at, "end" FROM association').fetchall()


@pytest.mark.parametrize(
    ("role", "runs", "seen_s_ago", "lost"),
    [
        ("receive", True, 0, False),
        ("receive", True, LOST_AFTER_S * 2, False),  # busy, but there
        ("receive", False, 0, True),  # killed a moment ago
        ("receive", None, LOST_AFTER_S - 1, False),  # on another host
        ("receive", None, LOST_AFTER_S + 1, True),
        ("score", True, 0, True),  # its process id was given away
        (None, True, 0, True),
    ],
)
def test_a_receiver_is_dead_or_alive(database, role, runs, seen_s_ago, lost):
    start(database, "host:1")
    if role is not None:
        roles.enter(database, "host:1", role, 1000 - seen_s_ago)
    assert end_lost_associations(database, runs=lambda _name: runs, now=1000) == lost
    assert ends(database) == ([(1000.0, "lost")] if lost else [(None, None)])


def test_siblings_keep_theirs(database):
    for receiver in ("host:1", "host:2"):
        start(database, receiver)
        roles.enter(database, receiver, "receive", 0)
    assert end_lost_associations(database, runs=lambda name: name == "host:1", now=5) == 1
    assert ends(database) == [(None, None), (5.0, "lost")]
