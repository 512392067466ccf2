"""Wake-ups reach whoever waits: by datagram on one host, by notification on all of them."""

from __future__ import annotations

import time

import pytest

from service.ledger import channels
from service.ledger.wake import Waiter, Wake
from tests.waiting import wait_for

LONG_S = 30.0


def woken(waiter):
    """Wait, and whether that was cut short."""
    began = time.monotonic()
    waiter.wait(LONG_S)
    return time.monotonic() - began < LONG_S / 2


@pytest.fixture
def wake(database):
    one = Wake(database.url)
    yield one
    one.close()


@pytest.fixture
def waiter(wake):
    one = Waiter(wake, "score")
    yield one
    one.close()


def test_a_waiter_is_woken_by_its_role_alone(wake, waiter):
    assert waiter.heard
    wake.role("score")
    assert woken(waiter)
    wake.role("deliver")
    began = time.monotonic()
    waiter.wait(0.1)
    assert time.monotonic() - began >= 0.1
    waiter.interrupt()
    assert woken(waiter)


def test_every_host_is_woken(postgresql_server):
    url = postgresql_server.emptied()
    sender, hosts = Wake(url), [Wake(url), Wake(url)]
    waiters = [Waiter(one, "score") for one in hosts]
    try:
        sender.role("score")
        assert [woken(one) for one in waiters] == [True, True]
    finally:
        for one in (*waiters, *hosts, sender):
            one.close()


def test_hosts_are_woken_through_encryption(postgresql_server):
    """Twice each: a socket that encryption took over could not be waited on."""
    postgresql_server.emptied()
    wake = Wake(postgresql_server.encrypted_url)
    waiter = Waiter(wake, "score")
    try:
        assert waiter.heard
        for _ in range(2):
            wake.role("score")
            assert woken(waiter)
    finally:
        waiter.close()
        wake.close()


def test_a_connection_that_is_lost_is_made_again(postgresql_server, monkeypatch):
    monkeypatch.setattr(channels, "RETRY_S", 0.01)
    wake = Wake(postgresql_server.emptied())
    waiter = Waiter(wake, "score")
    try:
        wake.role("score")
        assert woken(waiter)
        postgresql_server.emptied()  # ends every connection
        assert woken(waiter), "the end of a connection wakes, too"
        assert not waiter.heard

        def hears():
            waiter.wait(0.02)
            return waiter.heard

        wait_for("it listens again", hears)

        def reached():  # the sender finds out by a notification that is lost
            wake.role("score")
            began = time.monotonic()
            waiter.wait(0.5)
            return time.monotonic() - began < 0.5

        wait_for("and is reached", reached)
    finally:
        waiter.close()
        wake.close()


def test_a_server_that_is_gone_is_no_error(tmp_path):
    wake = Wake(f"postgresql://iqgate@/ledger?host={tmp_path}")
    waiter = Waiter(wake, "score")
    assert not waiter.heard
    wake.role("score")
    waiter.wait(0.01)
    waiter.close()
    wake.close()
