"""Liveness and readiness."""

from __future__ import annotations

from sqlalchemy import text

from service.config import VERSION
from service.ledger.roles import SEEN_WITHIN_S
from tests.watch.conftest import Watch


def test_alive_says_no_more(watch: Watch) -> None:
    answer = watch.ask("/healthz")
    assert (answer.status, answer.json) == (200, {"status": "alive", "version": VERSION})


def test_ready_names_every_role_that_is_missing(watch: Watch) -> None:
    answer = watch.ask("/readyz")
    assert answer.status == 503
    assert answer.json["reasons"] == [
        "receive: no process was seen lately",
        "score: no process was seen lately",
        "deliver: no process was seen lately",
    ]


def test_ready_when_every_role_says_so_and_was_seen(watch: Watch) -> None:
    watch.filling.all_roles()
    assert (watch.ask("/readyz").status, watch.ask("/readyz").json["ready"]) == (200, True)
    watch.filling.role("score", ready=False, detail="verifying bundles")
    answer = watch.ask("/readyz")
    assert answer.status == 503
    assert answer.json["reasons"] == ["score: not ready (verifying bundles)"]
    watch.filling.role("score")
    watch.clock.now += SEEN_WITHIN_S + 1
    assert watch.ask("/readyz").status == 503


def test_a_ledger_that_cannot_be_read_is_said_plainly(watch: Watch) -> None:
    with watch.database.write() as connection:
        connection.execute(text("ALTER TABLE role RENAME TO elsewhere"))
        connection.execute(text("ALTER TABLE series RENAME TO nowhere"))
    ready = watch.ask("/readyz")
    assert ready.status == 503
    assert ready.json["reasons"] == ["the ledger is away: no such table: role"]
    assert watch.ask("/healthz").status == 200
    assert watch.ask("/metrics").status == 503
    page = watch.ask("/")
    assert page.status == 503
    assert "The ledger does not answer" in page.text
