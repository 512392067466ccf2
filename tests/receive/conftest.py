"""An SCP under test."""

from __future__ import annotations

import threading

import pytest

from service.config import Receive, Settings
from service.ledger.wake import Waiter, Wake
from service.receive import scp
from service.spool.folder import FolderSpool


class Scp:
    """An SCP with its ledger, on a free port."""

    def __init__(self, database, tmp_path, **receive):
        self.settings = Settings(
            mode="shadow", data_dir=tmp_path, receive=Receive(port=1, **receive)
        )
        self.settings = self.settings.model_copy(
            update={"receive": self.settings.receive.model_copy(update={"port": 0})}
        )
        self.database = database
        self.spool = FolderSpool(self.settings.spool)
        self.spool.prepare()
        self.now = 1000.0
        wake = self.wake = Wake(str(tmp_path))
        self.score_waiter = Waiter(wake, "score")
        self.reception = scp.Reception(
            self.settings, database, self.spool, wake, "host:1", lambda: self.now
        )
        self.server = scp.start(self.reception)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self):
        return self.server.server_address[1]

    def rows(self, query):
        with self.database.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def spooled(self):
        return sorted(path for path in self.spool.root.rglob("*.dcm"))


@pytest.fixture
def make_scp(database, tmp_path):
    made = []

    def make(**receive):
        receive.setdefault("disk_reserve_bytes", 0)
        made.append(Scp(database, tmp_path, **receive))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        for association in one.server.active_associations:
            association.abort()
        one.wake.close()
        one.score_waiter.close()
