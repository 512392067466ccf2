"""MR slices scored as they arrive: whatever their order, the series ends in the same scores."""

from __future__ import annotations

import pytest

from models.intensity import stack_level
from service import header
from service.config import Score, Settings
from service.judge.policy import parse_policy
from service.ledger import closing
from service.ledger.database import Database
from service.ledger.wake import Wake
from service.score.conclude import Concluder
from service.score.provisional import Provisional
from service.score.scorer import Scorer
from service.score.worker import Worker
from tests.factories import head, mr_slice, receive, spooled
from tests.synthetic import write_bundle

FACTORS = (0.5, 0.55, 1.0, 1.1, 1.2, 1.05, 0.9)
POLICY = parse_policy('[[rule]]\nname = "mr"\nmodality = "MR"\nmeets = 2.0')


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "mr-test", "MR", {"kind": "mr-stack", "rows": 128, "columns": 128})
    return Scorer(folder, Score())


def closed(folder, scorer, order):
    """Slices received in an order, two to a claim, worked on and concluded as the role does it;
    what the series closes with, and how often its frames went back."""
    folder.mkdir(exist_ok=True)
    settings = Settings(mode="shadow", data_dir=folder, score=Score(batch_size=2))
    database = Database(settings.database_url)
    database.upgrade()
    concluder = Concluder(settings, database, POLICY, scorer.identity_of)
    wake = Wake(settings.database_url)

    def clock():
        return 1000.0

    provisional = Provisional(concluder, wake, clock)
    worker = Worker(settings, database, scorer, None, provisional, wake, clock)
    for number in order:
        ds = mr_slice(number, pixels=head(seed=number, scale=FACTORS[number]))
        path = spooled(settings.spool, ds)
        facts = header.series_facts(ds)
        receive(database, number, facts=facts, path=path, now=100.0 + len(order))
        worker.step()
    rounds = 0
    while worker.step():
        pass
    while closing.due_series(database, 1e6):
        assert concluder.conclude(1, 1e6)
        rounds += 1
        while worker.step():
            pass
    worker.close()
    seen = closing.snapshot(database, 1)
    wake.close()
    database.dispose()
    return seen, rounds


def test_the_result_does_not_hang_on_the_order_of_arrival(scorer, tmp_path):
    seen, rounds = closed(tmp_path / "forwards", scorer, range(7))
    expected = {one.instance_number: one.score for one in seen.slices}
    assert len(expected) == 7
    assert rounds == 2, "once back to be drawn at the level as known by then, once closed"
    assert seen.assessment is not None
    for name, order in {"back": range(6, -1, -1), "mixed": [3, 0, 6, 2, 5, 1, 4]}.items():
        other, _ = closed(tmp_path / name, scorer, order)
        assert {one.instance_number: one.score for one in other.slices} == pytest.approx(expected)
        assert other.assessment.score == pytest.approx(seen.assessment.score)


def test_a_series_drawn_at_its_final_level_closes_at_once(scorer, tmp_path):
    seen, rounds = closed(tmp_path, scorer, [3, 5])
    assert rounds == 1
    assert stack_level([1105.0, 1055.0]) == stack_level([1105.0])
    assert len(seen.slices) == 2
