"""A ledger filled as the gate fills it: through reception, scoring, judging and closing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy import insert

from service.config import Complete, Mode, Settings
from service.judge.commissioning import WAIVED
from service.judge.evidence import Assessment, BundleIdentity, SeriesFacts, Verdict
from service.judge.judging import judge
from service.judge.policy import parse_policy
from service.ledger import closing, reception, roles, scoring
from service.ledger.closing import SeriesSnapshot
from service.ledger.database import Database
from service.ledger.issuing import Issue
from service.ledger.reception import ReceivedObject
from service.ledger.scoring import FrameOutcome
from service.ledger.tables import AssessmentRow, FrameRow, ObjectRow, SeriesRow, StudyRow
from service.ledger.wake import Wake
from tests.factories import record_object, report_of

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
BUNDLE = BundleIdentity("ct-md-iqa-compact", "1.2.0", "ab" * 32, 0.0, 4.0)
STUDY = "1.2.826.0.1.3680043.8.498.77"
SCANNER = "ACME Scan 9000 S123"
POLICY = parse_policy(
    """
    [[rule]]
    name = "thin"
    modality = "CT"
    kernel = "sharp*"
    meets = 2.5
    primary_rank = 20

    [[rule]]
    name = "ct"
    modality = "CT"
    meets = 2.5
    unusable = 1.0
    """
)
THUMBNAIL_PIXELS = 160


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Filling:
    """Fills one ledger. Series are named by the last number of their UID."""

    def __init__(self, database: Database, settings: Settings, clock: Callable[[], float]) -> None:
        self.database = database
        self.settings = settings
        self.clock = clock
        self.wake = Wake(settings.database_url)
        self._association = reception.start_association(
            database, calling_ae_title="CT1", address="127.0.0.1", receiver="test:1", now=clock()
        )
        self._received = 0

    def receive(
        self, series: int, slices: int, *, set_aside: str | None = None, **changes: object
    ) -> SeriesFacts:
        """Slices of one series arrive; `changes` are to its facts."""
        facts = self._facts(series, **changes)
        for _ in range(slices):
            self._received += 1
            uid = f"{facts.series_instance_uid}.{self._received}"
            record_object(
                self.database,
                ReceivedObject(
                    facts=facts,
                    patient_name="Müller^Jürgen",
                    patient_id="P-0815",
                    study_date="20250304",
                    sop_instance_uid=uid,
                    sop_class_uid=CT_IMAGE,
                    transfer_syntax_uid=EXPLICIT_LITTLE,
                    instance_number=self._received,
                    frames=1,
                    path=f"{uid}.dcm",
                    sha256=f"{self._received:064x}",
                    size_bytes=1000,
                    set_aside=set_aside,
                ),
                association_id=self._association,
                complete=Complete(),
                now=self.clock(),
            )
        return facts

    def score(
        self, scores: Sequence[float | None], *, noise_hu: float = 11.0, excluded: str = "localizer"
    ) -> set[int]:
        """The oldest waiting slices get these scores, None being an exclusion; series' ids."""
        claim = scoring.claim(
            self.database, limit=len(scores), lease_s=60, max_attempts=3, now=self.clock()
        )
        assert claim is not None
        assert len(claim.frames) == len(scores)
        outcomes = [
            FrameOutcome(
                frame_id=frame.frame_id,
                stack="",
                position_mm=float(frame.frame_id),
                score=score,
                spread=None,
                noise_hu=None if score is None else noise_hu,
                snr=None,
                level=None,
                drawn_at_level=None,
                bundle_digest=None if score is None else BUNDLE.digest,
                excluded=excluded if score is None else None,
                thumbnail=None if score is None else (*self._picture(score),),
            )
            for frame, score in zip(claim.frames, scores, strict=True)
        ]
        return scoring.store(self.database, claim, outcomes, thumbnails_kept=6, now=self.clock())

    def provisional(self, series_id: int, **changes: object) -> Assessment:
        """Judge what is scored so far, store it, and wake the pages."""
        seen = closing.snapshot(self.database, series_id)
        assessment = self._judge(seen, **changes)
        closing.keep_provisional(self.database, seen, assessment, self.clock())
        self.wake.role("watch")
        return assessment

    def close(self, series_id: int, *, report: bool = True, **changes: object) -> Assessment:
        """Close a series, with a report to every destination, and wake the pages."""
        seen = closing.snapshot(self.database, series_id)
        assessment = self._judge(seen, **changes)
        reports = [report_of(seen)] if report else []
        closed = closing.close(
            self.database,
            seen,
            assessment,
            reports,
            Issue(self.settings.destinations, held=assessment.hold),
            report_study=False,
            now=self.clock(),
        )
        assert closed
        self.wake.role("watch")
        return assessment

    def judged(self, series: int, scores: Sequence[float | None], **changes: object) -> SeriesFacts:
        """One series from its first slice to its end."""
        facts = self.receive(series, len(scores), **changes)
        (series_id,) = self.score(scores)
        self.close(series_id)
        return facts

    def role(self, role: str, *, ready: bool = True, detail: str = "") -> None:
        """A role process is seen."""
        process = f"host:{role}"
        roles.enter(self.database, process, role, self.clock())
        roles.see(
            self.database, process, role, started_at=self.clock(),
            ready=ready, detail=detail, now=self.clock(),
        )  # fmt: skip

    def all_roles(self) -> None:
        for role in ("receive", "score", "deliver"):
            self.role(role, detail="ok")

    def _judge(self, seen: SeriesSnapshot, **changes: object) -> Assessment:
        bundle = BUNDLE if any(one.score is not None for one in seen.slices) else None
        mode: Mode = self.settings.mode
        assessment = judge(
            seen.facts, seen.slices, bundle, POLICY, configured_mode=mode, commissioning=WAIVED
        )
        return replace(assessment, **changes)  # type: ignore[arg-type]

    def _facts(self, series: int, **changes: object) -> SeriesFacts:
        facts = SeriesFacts(
            series_instance_uid=f"{STUDY}.{series}",
            study_instance_uid=STUDY,
            modality="CT",
            series_number=series,
            series_description="Thorax 1.0 soft",
            protocol_name="Chest routine",
            kernel="soft",
            manufacturer="ACME",
            model="Scan 9000",
            device_serial_number="S123",
            slice_thickness_mm=1.0,
            acquired_at="20250304120000",
        )
        return replace(facts, **changes)  # type: ignore[arg-type]

    def _picture(self, score: float) -> tuple[int, int, bytes]:
        """A disc with noise: more of it for a lower score."""
        random = np.random.default_rng(round(score * 100))
        y, x = np.mgrid[-1 : 1 : THUMBNAIL_PIXELS * 1j, -1 : 1 : THUMBNAIL_PIXELS * 1j]
        body = np.where((x / 0.85) ** 2 + (y / 0.6) ** 2 < 1, 120.0, 8.0)
        body -= np.where(((abs(x) - 0.4) / 0.3) ** 2 + (y / 0.4) ** 2 < 1, 90.0, 0.0)
        noisy = body + random.normal(0, 12 * max(0.2, 4 - score), body.shape)
        return THUMBNAIL_PIXELS, THUMBNAIL_PIXELS, np.clip(noisy, 0, 255).astype(np.uint8).tobytes()


def fill_many(
    database: Database, template: SeriesFacts, series: int, slices: int, now: float
) -> None:
    """Rows of many closed series at once, for timing; alike but for their numbers and times."""
    from service.ledger import json_text

    verdicts = (Verdict.MEETS, Verdict.DOES_NOT_MEET, Verdict.NOT_ASSESSED)
    with database.write() as connection:
        for first in range(1, series + 1, 500):
            numbers = range(first, min(first + 500, series + 1))
            connection.execute(
                insert(StudyRow),
                [
                    {
                        "id": 1000 + n,
                        "study_instance_uid": f"2.25.{n}",
                        "patient_name": f"Name^{n}",
                        "patient_id": f"ID{n}",
                        "study_date": "20250304",
                        "report_due": False,
                    }
                    for n in numbers
                ],
            )
            facts = {
                n: replace(
                    template,
                    series_instance_uid=f"2.25.{n}.1",
                    study_instance_uid=f"2.25.{n}",
                    device_serial_number=f"S{n % 4}",
                )
                for n in numbers
            }
            connection.execute(
                insert(SeriesRow),
                [
                    {
                        "id": 1000 + n,
                        "study_id": 1000 + n,
                        "series_instance_uid": one.series_instance_uid,
                        "modality": "CT",
                        "scanner": one.scanner,
                        "acquisition": one.acquisition,
                        "facts": json_text.dump(one),
                        "state": "closed",
                        "generation": slices,
                        "reopened": 0,
                        "first_object_at": now - 60 * n,
                        "last_object_at": now - 60 * n,
                        "closes_at": now,
                    }
                    for n, one in facts.items()
                ],
            )
            connection.execute(
                insert(AssessmentRow),
                [
                    {
                        "series_id": 1000 + n,
                        "generation": slices,
                        "current": True,
                        "verdict": verdicts[n % 3],
                        "score": 2.4,
                        "alarm": n % 3 == 1,
                        "body": json_text.dump(
                            Assessment(
                                verdicts[n % 3],
                                "The median of slice scores is 2.40, below the limit 2.5.",
                                score=2.4,
                                bundle=BUNDLE,
                                slices_total=slices,
                                slices_scored=slices,
                            )
                        ),
                        "last_object_at": now - 60 * n,
                        "created_at": now - 60 * n + 30,
                    }
                    for n in numbers
                ],
            )
            connection.execute(
                insert(ObjectRow),
                [
                    {
                        "id": n * slices + k,
                        "series_id": 1000 + n,
                        "sop_instance_uid": f"2.25.{n}.1.{k}",
                        "sha256": f"{n:032x}{k:032x}",
                        "sop_class_uid": CT_IMAGE,
                        "transfer_syntax_uid": EXPLICIT_LITTLE,
                        "path": f"{n}/{k}.dcm",
                        "size_bytes": 1000,
                        "state": "image",
                        "received_at": now - 60 * n,
                    }
                    for n in numbers
                    for k in range(slices)
                ],
            )
            connection.execute(
                insert(FrameRow),
                [
                    {
                        "object_id": n * slices + k,
                        "series_id": 1000 + n,
                        "frame_number": 1,
                        "instance_number": k + 1,
                        "work": "score",
                        "state": "scored",
                        "attempts": 1,
                        "received_at": now - 60 * n,
                        "scored_at": now,
                        "stack": "",
                        "position_mm": float(k),
                        "score": 2.0 + (k * 7 % 10) / 10,
                    }
                    for n in numbers
                    for k in range(slices)
                ],
            )
