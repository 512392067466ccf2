"""An S3 API on this host: moto's server in the test's own process, which outlives its own stop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from service.spool.objects import ObjectSpool

BUCKET = "gate-spool"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "gate",
    "AWS_SECRET_ACCESS_KEY": "not-to-be-logged",
    "AWS_REGION": "us-east-1",
}


class ObjectStore:
    """A server with one bucket; what it holds is lost with the process."""

    def __init__(self) -> None:
        self._port = 0
        self._server: Any = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Whoever asks now is refused the connection."""
        self._server.stop()

    @property
    def _backend(self) -> Any:
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def new_bucket(self) -> None:
        """An empty one in place of whatever there is."""
        self.drop_bucket()
        self._backend.create_bucket(BUCKET, CREDENTIALS["AWS_REGION"])

    def drop_bucket(self) -> None:
        """And all that is in it."""
        self._backend.reset()

    def spool(self, prefix: str = "a/prefix") -> ObjectSpool:
        return ObjectSpool(f"s3://{BUCKET}/{prefix}", self.endpoint)

    def objects(self) -> dict[str, Any]:
        """What the server holds, by key: objects with their `value` and `last_modified`."""
        return dict(self._backend.buckets[BUCKET].keys.items())

    def write(self, key: str, content: bytes) -> None:
        self._backend.put_object(BUCKET, key, content)

    def lose(self, key: str) -> None:
        self._backend.delete_object(BUCKET, key)

    def date(self, key: str, at: float) -> None:
        self.objects()[key].last_modified = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


@contextmanager
def running_object_store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    store.start()
    try:
        yield store
    finally:
        store.stop()
