"""From a quiet series to its assessment and reports: reads, calls `judge` and `report`, commits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
from pydicom import Dataset

from service import header
from service.companion import Fusing, fit_frames, nearest
from service.config import VERSION, Settings
from service.errors import RejectedInput, SpoolUnavailable
from service.judge.commissioning import Commissioning
from service.judge.evidence import Assessment, BundleIdentity, Verdict
from service.judge.judging import judge, not_assessed
from service.judge.policy import Policy
from service.ledger import closing, commissioning, intensity, issuing, scoring
from service.ledger.closing import SeriesSnapshot
from service.ledger.database import Database
from service.ledger.issuing import Issue, NewReport
from service.log import line
from service.report.identity import Kind, named_uid, report_series_uid, report_uid
from service.report.structured_report import build_structured_report
from service.report.subject import FusedImage, Gate, Predecessor, ReportedSeries
from service.report.summary_image import build_summary_image
from service.spool.opening import open_spool

log = logging.getLogger("iqgate.score")

Identify = Callable[[str], BundleIdentity | None]


def gate_identity(settings: Settings) -> Gate:
    """This installation as its reports name it; constant while its data directory stays."""
    return Gate(
        device_uid=named_uid("gate", settings.report.station_name, str(settings.data_dir)),
        station_name=settings.report.station_name,
        software_version=VERSION,
        institution_name=settings.report.institution_name,
    )


class Concluder:
    """Closes series that are quiet, and reports studies that are."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        policy: Policy,
        identify: Identify,
        fusing: Fusing | None = None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.spool = open_spool(settings)
        self.policy = policy
        self.identify = identify
        self.fusing = fusing
        self.gate = gate_identity(settings)
        self._unreportable: set[tuple[int, int]] = set()

    def provisional(self, series_id: int, clock: Callable[[], float]) -> Assessment:
        """Judge what has been scored so far, and store it for the pages."""
        seen = closing.snapshot(self.database, series_id)
        assessment = self.assess(seen)
        closing.keep_provisional(self.database, seen, assessment, clock())
        return assessment

    def conclude(self, series_id: int, now: float) -> bool:
        """Close one series, or send it back to be scored by the bundle served now.

        False when it changed meanwhile; it will be due again.
        """
        seen = closing.snapshot(self.database, series_id)
        if not seen.is_open:
            return False  # another host was quicker
        stale = {one for one in seen.bundle_digests if self.identify(one) is None}
        if stale:
            # the bundle was replaced since: one verdict never mixes two networks' scores
            scoring.requeue_scored_by(self.database, series_id, stale)
            return True
        if intensity.requeue_drawn_at_other_level(self.database, series_id):
            return True
        assessment = self.assess(seen)
        per_series = self.settings.report.scope == "series"
        reportable = assessment.verdict is not Verdict.NOT_ASSESSED and not seen.rejected
        reports: list[NewReport] = []
        key = (series_id, seen.generation)
        if per_series and reportable and key not in self._unreportable:
            with self._building(key):
                reports = self._build([(seen, assessment)], seen.facts.series_instance_uid, now)
        closed = closing.close(
            self.database,
            seen,
            assessment,
            reports,
            self._issue([assessment]),
            report_study=reportable and not per_series,
            now=now,
            fusing=self.fusing,
        )
        if key in self._unreportable:
            log.error(line("report-not-built", series_instance_uid=seen.facts.series_instance_uid))
        if closed:
            log.info(
                line(
                    "series-closed",
                    series_instance_uid=seen.facts.series_instance_uid,
                    verdict=assessment.verdict,
                    slices=assessment.slices_total,
                    seconds_since_last_slice=f"{now - seen.last_object_at:.2f}",
                    reports=len(reports),
                )
            )
        return closed

    def report_study(self, study_id: int, now: float) -> bool:
        """Issue the reports of a quiet study. False when it changed meanwhile."""
        seen = closing.study_snapshots(self.database, study_id)
        judged = [
            (one, one.assessment)
            for one in seen
            if one.assessment is not None
            and one.assessment.verdict is not Verdict.NOT_ASSESSED
            and not one.rejected
        ]
        outspoken = [one for one in judged if one[1].mode == "report"]
        included = outspoken or judged
        key = (-study_id, sum(one.generation for one in seen))
        reports: list[NewReport] = []
        if included and key not in self._unreportable:
            left_out = [one.facts.series_instance_uid for one in seen if one.rejected]
            study_uid = included[0][0].facts.study_instance_uid
            with self._building(key):
                reports = self._build(included, study_uid, now, left_out)
        outbox = self._issue([assessment for _, assessment in included])
        return closing.report_study(self.database, study_id, seen, reports, outbox, now)

    def assess(self, seen: SeriesSnapshot) -> Assessment:
        """Judge a snapshot; a series without images is not assessed, with the reason."""
        if not seen.slices and seen.set_aside is not None:
            return not_assessed(seen.set_aside[:1].upper() + seen.set_aside[1:] + ".", self.policy)
        assessment = judge(
            seen.facts,
            seen.slices,
            next(map(self.identify, sorted(seen.bundle_digests)), None),
            self.policy,
            configured_mode=self.settings.mode,
            commissioning=Commissioning(
                self.settings.commissioning == "required",
                commissioning.records(self.database, seen.facts.scanner),
            ),
            worst_count=self.settings.report.worst_slices,
        )
        if seen.conflicts:
            warning = f"Objects under known UIDs that differ were not scored: {seen.conflicts}."
            assessment = replace(assessment, warnings=(*assessment.warnings, warning))
        if seen.rejected:
            warning = f"Not reported: all its images were {seen.rejected}."
            assessment = replace(assessment, warnings=(*assessment.warnings, warning))
        return assessment

    def _issue(self, assessments: Sequence[Assessment]) -> Issue:
        holds = [one.hold for one in assessments]
        return Issue(self.settings.destinations, held="" if "" in holds else min(holds, default=""))

    @contextmanager
    def _building(self, key: tuple[int, int]) -> Iterator[None]:
        """Should building fail, the next attempt goes without a report; not so where the spool did
        not answer."""
        self._unreportable.add(key)
        try:
            yield
        except SpoolUnavailable:
            self._unreportable.discard(key)
            raise
        self._unreportable.discard(key)

    def _build(
        self,
        subjects: Sequence[tuple[SeriesSnapshot, Assessment]],
        scope_uid: str,
        now: float,
        left_out: Sequence[str] = (),
    ) -> list[NewReport]:
        """The SR on all subjects, and a summary image for each that calls for one.

        left_out: Series Instance UIDs of rejected series. A report without them is another one than
        a report from before they came, though it says the same.
        """
        reported = [self._reported(seen, assessment) for seen, assessment in subjects]
        reports = [self._structured_report(subjects, reported, scope_uid, now, left_out)]
        wanted = self.settings.report.summary_image
        for (seen, assessment), one in zip(subjects, reported, strict=True):
            if wanted == "always" or (
                wanted == "not-met" and assessment.verdict is not Verdict.MEETS
            ):
                reports.append(self._summary_image(seen, assessment, one, now))
        return [one for one in reports if one is not None]

    def _structured_report(
        self,
        subjects: Sequence[tuple[SeriesSnapshot, Assessment]],
        reported: Sequence[ReportedSeries],
        scope_uid: str,
        now: float,
        left_out: Sequence[str],
    ) -> NewReport:
        study_uid = subjects[0][0].facts.study_instance_uid
        last = issuing.last_attempted(self.database, "structured-report", scope_uid)
        uid = _report_uid("structured-report", subjects, scope_uid, left_out)
        series_uid = report_series_uid(study_uid, "structured-report")
        body = build_structured_report(
            reported,
            gate=self.gate,
            sop_instance_uid=uid,
            series_instance_uid=series_uid,
            now=datetime.fromtimestamp(now, UTC).astimezone(),
            predecessor=None
            if last is None
            else Predecessor(
                last.sop_class_uid,
                last.sop_instance_uid,
                last.series_instance_uid,
                last.study_instance_uid,
            ),
            sop_class=self.settings.report.sop_class,
        )
        return self._new_report(
            "structured-report", scope_uid, study_uid, uid, series_uid, last, body
        )

    def _summary_image(
        self, seen: SeriesSnapshot, assessment: Assessment, one: ReportedSeries, now: float
    ) -> NewReport:
        study_uid, scope_uid = seen.facts.study_instance_uid, seen.facts.series_instance_uid
        uid = _report_uid("summary-image", [(seen, assessment)], scope_uid)
        series_uid = report_series_uid(study_uid, "summary-image")
        body = build_summary_image(
            one,
            gate=self.gate,
            sop_instance_uid=uid,
            series_instance_uid=series_uid,
            now=datetime.fromtimestamp(now, UTC).astimezone(),
        )
        last = issuing.last_attempted(self.database, "summary-image", scope_uid)
        return self._new_report("summary-image", scope_uid, study_uid, uid, series_uid, last, body)

    def _new_report(
        self,
        kind: Kind,
        scope_uid: str,
        study_uid: str,
        uid: str,
        series_uid: str,
        last: issuing.IssuedReport | None,
        body: bytes,
    ) -> NewReport:
        return NewReport(
            kind=kind,
            scope_uid=scope_uid,
            study_instance_uid=study_uid,
            sop_class_uid=_sop_class(body),
            sop_instance_uid=uid,
            series_instance_uid=series_uid,
            predecessor_id=None if last is None else last.report_id,
            body=body,
        )

    def _reported(self, seen: SeriesSnapshot, assessment: Assessment) -> ReportedSeries:
        """The series as a report needs it: headers of its worst slices read from the spool."""
        wanted = {one.sop_instance_uid for one in assessment.worst}
        evidence = {uid: self._header(seen.paths[uid]) for uid in wanted if uid in seen.paths}
        found = next(filter(len, evidence.values()), None)
        if found is None:  # retention may have left but the slices that came late
            found = next(filter(len, map(self._header, seen.paths.values())), Dataset())
        companion = seen.companion
        return ReportedSeries(
            companion=None if companion is None else companion.facts,
            fused=self._fused(seen, assessment),
            facts=seen.facts,
            assessment=assessment,
            slices=seen.slices,
            header=found,
            evidence=evidence,
            thumbnails={
                key: np.frombuffer(one.pixels, np.uint8).reshape(one.shape)
                for key, one in seen.thumbnails.items()
            },
        )

    def _fused(
        self, seen: SeriesSnapshot, assessment: Assessment
    ) -> dict[tuple[str, int], FusedImage]:
        """The CT image nearest to each of a PET's worst slices."""
        if seen.companion is None or self.fusing is None:
            return {}
        frames = fit_frames(seen.companion.frames, self.fusing.unfit)
        found = {}
        for one in assessment.worst:
            ct = None if one.position_mm is None else nearest(one.position_mm, frames)
            if ct is not None:
                key = one.sop_instance_uid, one.frame_number
                found[key] = FusedImage(ct.sop_instance_uid, ct.frame_number, self._header(ct.path))
        return found

    def _header(self, path: str) -> Dataset:
        try:
            return self.spool.read(path)
        except (FileNotFoundError, RejectedInput):
            return Dataset()


def _report_uid(
    kind: Kind,
    subjects: Sequence[tuple[SeriesSnapshot, Assessment]],
    scope_uid: str,
    left_out: Sequence[str] = (),
) -> str:
    outcome = "|".join(
        [
            *(
                f"{seen.facts.series_instance_uid}:{one.verdict}:{one.score or 0:.4f}"
                for seen, one in subjects
            ),
            *(f"{uid}:rejected" for uid in left_out),
        ]
    )
    return report_uid(
        kind,
        subjects[0][0].facts.study_instance_uid,
        scope_uid,
        [one.bundle.digest for _, one in subjects if one.bundle is not None],
        subjects[0][1].policy_digest,
        outcome,
        [image for seen, _ in subjects for image in seen.images_used],
    )


def _sop_class(body: bytes) -> str:

    return str(header.read_file(BytesIO(body)).SOPClassUID)
