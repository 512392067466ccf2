"""The spool as objects of a store: what a store can do to it that a disk cannot."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from service.errors import ConfigError, SpoolUnavailable
from service.spool import objects as objects_module
from service.spool.objects import MARK, ObjectSpool
from tests.object_store import CREDENTIALS

HEAD, DATASET = b"head", b"dataset" * 1000
FILE = f"ab/{'ab' * 32}.dcm"


@pytest.fixture
def spool(object_store):
    spool = object_store.spool()
    spool.prepare()
    return spool


@contextmanager
def answering(status: int, body: bytes = b""):
    """The URL of a store that answers everything so."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(body)

        def do_HEAD(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def refusal(spool: ObjectSpool) -> str:
    """Why nothing can be stored; reading says the same."""
    with pytest.raises(OSError, match=spool.name) as refused:
        spool.store(HEAD, DATASET)
    with pytest.raises(SpoolUnavailable) as unread:
        spool.read(FILE)
    assert str(unread.value) == f"the spool cannot be read: {refused.value.strerror}"
    return refused.value.strerror


def test_a_spool_is_told_from_a_bucket_by_its_mark(object_store):
    spool = object_store.spool()
    assert not spool.mounted()
    spool.prepare()
    assert spool.mounted()
    first = spool.stamp(MARK)
    spool.prepare()
    assert (spool.stamp(MARK), list(object_store.objects())) == (first, [f"a/prefix/{MARK}"])
    assert not object_store.spool("a").mounted(), "another prefix is another spool"


def test_a_store_that_is_away_at_the_start_is_marked_with_the_first_object(object_store):
    spool = object_store.spool()
    object_store.stop()
    try:
        spool.prepare()
        with pytest.raises(OSError, match="does not answer"):
            spool.store(HEAD, DATASET)
    finally:
        object_store.start()
    assert not spool.mounted()
    stored = spool.store(HEAD, DATASET)
    assert set(object_store.objects()) == {f"a/prefix/{MARK}", f"a/prefix/{stored.path}"}


def test_a_store_that_refuses_ends_the_start(object_store):
    object_store.drop_bucket()
    with pytest.raises(
        ConfigError, match="spool_url = s3://gate-spool/a/prefix: its bucket is not"
    ):
        object_store.spool().prepare()


def test_an_object_of_many_parts_is_one_object(object_store, spool):
    """Beyond 5 MB the library sends parts, each within a request's time."""
    dataset = bytes(range(256)) * 4 * 1024 * 12
    stored = spool.store(HEAD, dataset)
    assert bytes(object_store.objects()[f"a/prefix/{stored.path}"].value) == HEAD + dataset


def test_a_store_that_went_away_and_came_back(object_store, spool):
    stored = spool.store(HEAD, DATASET)
    object_store.stop()
    try:
        assert refusal(spool) == "the store does not answer"
        with pytest.raises(OSError, match="does not answer"):
            spool.on_shelf(stored.path[0])
        with pytest.raises(OSError, match="does not answer"):
            spool.mounted()
    finally:
        object_store.start()
    assert spool.store(HEAD, DATASET) == stored
    assert spool.on_shelf(stored.path[0]) == {stored.path}


def test_a_bucket_that_is_gone_makes_no_object_missing(object_store, spool):
    object_store.drop_bucket()
    assert refusal(spool) == "its bucket is not there"
    with pytest.raises(OSError, match="its bucket is not there"):
        spool.on_shelf("a")


def test_a_prefix_that_holds_no_spool_makes_no_object_missing(object_store, spool):
    object_store.lose(f"a/prefix/{MARK}")
    with pytest.raises(SpoolUnavailable, match="its bucket is not there, or not its spool"):
        spool.read(FILE)
    spool.prepare()
    with pytest.raises(FileNotFoundError):
        spool.read(FILE)


@pytest.mark.usefixtures("object_store")
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "the store refuses access"),
        (401, "the store refuses access"),
        (503, "the store answers 503"),
        (507, "the store answers 507"),
    ],
)
def test_what_a_store_answers_is_said_plainly(caplog, status, words):
    body = b"<Error><Code>x</Code><StringToSign>not-to-be-logged</StringToSign></Error>"
    with answering(status, body) as url, caplog.at_level(logging.DEBUG):
        assert refusal(ObjectSpool("s3://gate-spool", url)) == words
    assert f"{status}" in caplog.text
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in caplog.text


@pytest.mark.usefixtures("object_store")
def test_a_store_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(objects_module, "SILENT_S", 0.2)
    monkeypatch.setattr(objects_module, "RETRIES", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert refusal(ObjectSpool("s3://gate-spool", url)) == "the store does not answer"


def test_nothing_that_may_have_been_acknowledged_is_deleted(object_store, spool):
    """Between a look and a delete another host may have written a whole object."""
    stored = spool.store(HEAD, DATASET)
    key = f"a/prefix/{stored.path}"
    object_store.write(key, b"broken")
    stamp = spool.stamp(stored.path)
    spool.store(HEAD, DATASET)
    assert spool.set_aside(stored.path, stamp)
    assert bytes(object_store.objects()[key].value) == HEAD + DATASET


def test_nothing_is_left_half_written(spool):
    assert spool.clear_incoming(1e12) == 0


def test_room_is_the_stores_affair(spool):
    assert spool.has_room(2**40, 2**60)
