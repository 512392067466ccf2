"""A PET and CTs in a ledger, taken from step to step."""

from __future__ import annotations

from service.companion import Fusing
from service.config import Complete
from service.judge.judging import judge
from service.judge.policy import parse_policy
from service.ledger import closing, pairing, scoring
from service.ledger.issuing import Issue
from service.ledger.scoring import FrameOutcome
from tests.factories import BUNDLE, facts, receive

POLICY = parse_policy(
    '[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2\nminimum_slices = 1\n'
    '[[rule]]\nname = "pt"\nmodality = "PT"\nmeets = 2\nminimum_slices = 1\n'
)
FUSING = Fusing(frozenset({"a localizer"}), Complete())
FRAME_OF_REFERENCE = "1.2.3.9"


def of(modality, uid, acquired_at="20260101080000", frame_of_reference=FRAME_OF_REFERENCE):
    return facts(
        modality=modality,
        series_instance_uid=uid,
        frame_of_reference_uid=frame_of_reference,
        acquired_at=acquired_at,
    )


CT, OTHER_CT, PET = of("CT", "1.2.1"), of("CT", "1.2.2", "20260101090000"), of("PT", "1.2.5")


def send(database, series, *numbers, now=0.0):
    for number in numbers:
        receive(database, number, facts=series, now=now, sha256=series_sha(series, number))


def series_sha(series, number):
    return f"{series.series_instance_uid}-{number}".rjust(64, "0")


def score(database, now=1.0, stack="axial", excluded=None):
    """Score everything that waits; slice n lies at n mm."""
    done = []
    while claimed := scoring.claim(database, limit=16, lease_s=60, max_attempts=3, now=now):
        outcomes = [
            FrameOutcome(
                frame_id=one.frame_id, stack=stack, position_mm=position(one.sop_instance_uid),
                score=None if excluded else 3.0, spread=None, noise_hu=None, snr=None, level=None,
                drawn_at_level=None, bundle_digest=None if excluded else "b", excluded=excluded,
                thumbnail=(1, 1, b"x"),
            )
            for one in claimed.frames
        ]  # fmt: skip
        scoring.store(database, claimed, outcomes, thumbnails_kept=2, now=now)
        done += [one.sop_instance_uid for one in claimed.frames]
    return done


def position(uid):
    return float(uid.rsplit(".", 1)[1])


def close_ct(database, now=40.0, **how):
    score(database, now, **how)
    return close_due(database, now)


def close_due(database, now):
    closed = []
    for series_id in closing.due_series(database, now):
        seen = closing.snapshot(database, series_id)
        assessment = judge(seen.facts, seen.slices, BUNDLE, POLICY)
        assert closing.close(
            database, seen, assessment, [], Issue((), held=""),
            report_study=False, now=now, fusing=FUSING,
        )  # fmt: skip
        closed.append(seen.facts.series_instance_uid)
    return closed


def step(database, now, fusing=FUSING):
    """One pass over what awaits, as the concluding thread makes it."""
    uids = dict(
        rows(
            database,
            "SELECT f.id, o.sop_instance_uid FROM frame f JOIN object o ON o.id = f.object_id",
        )
    )
    moved = []
    for series_id, unplaced in pairing.awaiting(database).items():
        positions = {one.frame_id: position(uids[one.frame_id]) for one in unplaced}
        moved.append(pairing.pair(database, series_id, positions, fusing, now))
    return any(moved)


def rows(database, query):
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def pet(database):
    """State, generation, CT and its generation, of the PET series."""
    (row,) = rows(
        database,
        "SELECT p.state, p.generation, c.series_instance_uid, p.companion_generation"
        " FROM series p LEFT JOIN series c ON c.id = p.companion_id WHERE p.modality = 'PT'",
    )
    return row


def frames(database):
    return rows(
        database,
        "SELECT f.state, count(*) FROM frame f JOIN series s ON s.id = f.series_id"
        " WHERE s.modality = 'PT' GROUP BY f.state ORDER BY f.state",
    )


def verdicts(database):
    return rows(
        database,
        "SELECT a.generation, a.verdict, a.current FROM assessment a"
        " JOIN series s ON s.id = a.series_id WHERE s.modality = 'PT' ORDER BY a.id",
    )
