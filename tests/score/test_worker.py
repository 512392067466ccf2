"""The worker's claims: drawn ahead, given back, and never two at risk of one bad frame again."""

from __future__ import annotations

import queue
import threading

import numpy as np
import pytest

from service import header
from service.config import Score, Settings
from service.errors import LedgerUnavailable
from service.judge.policy import parse_policy
from service.ledger import closing, intensity, scoring, tally
from service.ledger.database import Database
from service.ledger.tables import FrameState
from service.ledger.wake import Wake
from service.score.conclude import Concluder
from service.score.provisional import Provisional
from service.score.scorer import Scorer
from service.score.worker import Worker
from service.spool import folder as folder_module
from service.spool.folder import FolderSpool
from tests.away import Outage, away
from tests.factories import ct_slice, receive, spooled
from tests.synthetic import CT_RENDER, write_bundle

POLICY = parse_policy('[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.0')
BATCH = 2


class Gate:
    """A ledger with a CT series of `count` slices waiting, and what a worker needs."""

    def __init__(self, folder, scorer, count):
        self.settings = Settings(
            mode="shadow", data_dir=folder, score=Score(batch_size=BATCH, lease_s=60)
        )
        self.database = Database(self.settings.database_url)
        self.database.upgrade()
        self.wake = Wake(self.settings.database_url)
        self.now = 1000.0
        FolderSpool(self.settings.spool).prepare()
        self.scorer = scorer
        self.concluder = Concluder(self.settings, self.database, POLICY, scorer.identity_of)
        rng = np.random.default_rng(7)
        for number in range(count):
            ds = ct_slice(number, pixels=rng.integers(900, 1150, (128, 128)).astype(np.uint16))
            receive(
                self.database,
                number,
                facts=header.series_facts(ds),
                path=spooled(self.settings.spool, ds),
                now=100.0 + number,
            )

    def clock(self):
        return self.now

    def worker(self):
        provisional = Provisional(self.concluder, self.wake, self.clock)
        return Worker(
            self.settings, self.database, self.scorer, None, provisional, self.wake, self.clock
        )

    def frames(self):
        """State and attempts of every frame, in order of arrival."""
        with self.database.read() as connection:
            return [
                (row.state, row.attempts)
                for row in connection.exec_driver_sql(
                    "SELECT state, attempts FROM frame ORDER BY id"
                )
            ]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "ct-test", "CT", CT_RENDER)
    return Scorer(folder, Score())


@pytest.fixture
def five(tmp_path, scorer):
    gate = Gate(tmp_path, scorer, 5)
    yield gate
    gate.wake.close()
    gate.database.dispose()


def test_the_next_claim_is_drawn_while_one_is_inferred(five):
    worker = five.worker()
    assert worker.step()
    states = [state for state, _ in five.frames()]
    assert states == [FrameState.SCORED] * 2 + [FrameState.LEASED] * 2 + [FrameState.WAITING]
    while worker.step():
        pass
    worker.close()
    assert [state for state, _ in five.frames()] == [FrameState.SCORED] * 5
    with five.database.read() as connection:
        spent_s = tally.read(connection, "stage_seconds")
    assert {stage for (stage,) in spent_s} == {"claim", "draw", "infer", "store"}
    assert min(spent_s.values()) > 0


def test_closing_gives_back_what_was_taken_ahead(five):
    worker = five.worker()
    worker.step()
    worker.close()
    assert five.frames() == [(FrameState.SCORED, 1)] * 2 + [(FrameState.WAITING, 0)] * 3


def test_a_frame_tried_before_is_at_work_alone(five):
    """After a crash each frame is a claim of its own, and nothing else is held beside it: should
    it be the one that kills, no other frame counts an attempt for it."""
    worker = five.worker()
    worker.step()  # 2 scored, 2 held, 1 waiting; then the process dies
    five.now += 61
    other = five.worker()
    held = []
    original = other.scorer.infer

    def infer(drawn):
        held.append([state for state, _ in five.frames()].count(FrameState.LEASED))
        return original(drawn)

    other.scorer.infer = infer
    try:
        while other.step():
            pass
    finally:
        del other.scorer.infer
    other.close()
    worker.close()
    assert held == [1, 1, 1]
    assert five.frames()[2:] == [(FrameState.SCORED, 2)] * 2 + [(FrameState.SCORED, 1)]


def test_a_claim_ahead_takes_first_attempts_alone(five):
    first = scoring.claim(five.database, limit=5, lease_s=60, max_attempts=3, now=1000.0)
    assert first is not None
    assert first.first_attempt
    scoring.fail(five.database, first.token)
    assert (
        scoring.claim(
            five.database,
            limit=5,
            lease_s=60,
            max_attempts=3,
            now=1001.0,
            first_attempts_only=True,
        )
        is None
    )
    again = scoring.claim(five.database, limit=5, lease_s=60, max_attempts=3, now=1001.0)
    assert again is not None
    assert not again.first_attempt
    assert len(again.frames) == 1


@pytest.mark.parametrize("told", [OSError(116, "Stale file handle"), False])
def test_no_attempt_counts_while_the_whole_spool_is_away(five, monkeypatch, told):
    def fails(*_):
        raise OSError(116, "Stale file handle")

    def mounted(_):
        if told:
            raise told
        return False

    worker = five.worker()
    with monkeypatch.context() as away:
        away.setattr(folder_module, "check_file", fails)
        away.setattr(FolderSpool, "mounted", mounted)
        for _ in range(five.settings.score.max_attempts + 1):
            while worker.step():
                pass
            assert five.frames() == [(FrameState.LEASED, 0)] * 5
            five.now += five.settings.score.lease_s
    while worker.step():
        pass
    worker.close()
    assert five.frames() == [(FrameState.SCORED, 1)] * 5


def test_damaged_files_are_named_and_failing_storage_is_waited_for(five, monkeypatch):
    with five.database.read() as connection:
        query = "SELECT path FROM object ORDER BY id"
        paths = connection.exec_driver_sql(query).scalars().all()
    damaged = five.settings.spool / paths[0]
    damaged.write_bytes(damaged.read_bytes()[:-2])
    worker = five.worker()
    real = folder_module.check_file

    def fails(file, sha256):
        if sha256 in paths[2]:
            raise OSError(116, "Stale file handle")
        real(file, sha256)

    monkeypatch.setattr(folder_module, "check_file", fails)
    while worker.step():
        pass
    assert five.frames() == [
        (FrameState.EXCLUDED, 1),
        (FrameState.SCORED, 1),
        (FrameState.LEASED, 1),
        (FrameState.LEASED, 1),
        (FrameState.SCORED, 1),
    ], "its company in the claim waits with it"
    (reason,) = {one.excluded for one in closing.snapshot(five.database, 1).slices} - {None}
    assert reason == "its file in the spool does not hold what was received (SHA-256 differs)"
    monkeypatch.undo()
    five.now += five.settings.score.lease_s
    while worker.step():
        pass
    worker.close()
    assert five.frames()[2:4] == [(FrameState.SCORED, 2), (FrameState.SCORED, 2)]


def test_results_of_a_lost_lease_are_dropped(five):
    worker = five.worker()
    worker.step()
    five.now += 61
    rescued = scoring.claim(five.database, limit=1, lease_s=60, max_attempts=3, now=five.now)
    assert rescued is not None
    assert worker.step()  # its lease had run out: nothing of it is stored
    worker.close()
    assert FrameState.SCORED not in [state for state, _ in five.frames()[2:4]]


def test_a_series_that_took_long_to_judge_rests_while_others_are_judged(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("service.score.provisional.time.monotonic", lambda: now[0])
    judged = queue.SimpleQueue()

    class Judging:
        def provisional(self, series_id, _clock):
            now[0] += 10.0
            judged.put(series_id)

    class Silent:
        def role(self, name):
            pass

    with Provisional(Judging(), Silent(), lambda: 0.0) as provisional:
        provisional.touch({1})
        assert judged.get(timeout=10) == 1
        provisional.touch({1})
        provisional.touch({2})
        assert judged.get(timeout=10) == 2
    assert judged.empty()


def test_the_provisional_verdict_holds_every_slice_in_the_end(five):
    with Provisional(five.concluder, five.wake, five.clock) as provisional:
        worker = Worker(
            five.settings, five.database, five.scorer, None, provisional, five.wake, five.clock
        )
        kept = threading.Event()
        original = five.concluder.provisional

        def judged(series_id, clock):
            assessment = original(series_id, clock)
            if assessment.slices_scored == 5:
                kept.set()
            return assessment

        five.concluder.provisional = judged
        while worker.step():
            pass
        assert kept.wait(10)
        worker.close()
    assert closing.snapshot(five.database, 1).pending == 0


def test_scores_are_kept_until_the_ledger_is_back(five, monkeypatch):
    worker = five.worker()
    outage = Outage(five.database)
    worker._patiently = outage.patience()
    infer = five.scorer.infer

    def infer_and_lose(drawn):
        results = infer(drawn)
        outage.begin()
        return results

    with monkeypatch.context() as once:
        once.setattr(five.scorer, "infer", infer_and_lose)
        assert worker.step()
    assert outage.waits == 1
    assert five.frames()[:2] == [(FrameState.SCORED, 1)] * 2
    worker.close()


def test_a_claim_in_hand_is_worked_on_though_the_next_cannot_be_had(five, monkeypatch):
    """Otherwise it would be forgotten, and its leases renewed for ever."""
    worker = five.worker()
    claim = scoring.claim

    def once_then_away(*given, first_attempts_only=False, **named):
        if first_attempts_only:
            raise LedgerUnavailable("away")
        return claim(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "claim", once_then_away)
        assert worker.step()
    assert five.frames()[:2] == [(FrameState.SCORED, 1)] * 2
    worker.close()


def test_slices_whose_drawing_the_ledger_failed_count_no_attempt(five, monkeypatch):
    worker = five.worker()
    outage = Outage(five.database)
    worker._patiently = outage.patience()

    def lose(*_):
        outage.begin()
        raise LedgerUnavailable("away")

    with monkeypatch.context() as once:
        once.setattr(intensity, "known_levels", lose)
        assert worker.step()
    assert five.frames()[:2] == [(FrameState.WAITING, 0)] * 2
    worker.close()


def test_a_worker_told_to_end_while_the_ledger_is_away_ends(five):
    worker = five.worker()
    assert worker.step()
    with away(five.database):
        worker.close()
    assert [state for state, _ in five.frames()][2:4] == [FrameState.LEASED] * 2
