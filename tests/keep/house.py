"""A gate's ledger and spool without its processes: slices received, scored, judged, reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom.dsutils import encode

from service.config import Keep, Settings
from service.judge.commissioning import WAIVED
from service.judge.judging import judge
from service.judge.policy import parse_policy
from service.keep.adopt import received_object
from service.keep.jobs import Keeping
from service.ledger import closing, outbox, reception, scoring
from service.ledger.database import Database
from service.ledger.issuing import Issue
from service.ledger.scoring import FrameOutcome
from service.ledger.wake import Wake
from service.receive.part10 import file_head
from tests.factories import BUNDLE, chest, ct_slice, record_object, report_of
from tests.media import FolderMedium, Medium

POLICY = parse_policy('[[rule]]\nname = "ct"\nmodality = "CT"\nmeets = 2.5\nminimum_slices = 1\n')
NOW = 1_600_000_000.0
DAY_S = 86400.0


class House:
    """One data directory, and a clock that is moved by hand. Its spool is a folder there, unless
    another medium is given."""

    def __init__(self, database: Database, folder: Path, medium: Medium | None = None) -> None:
        self.database = database
        self.medium = medium or FolderMedium(folder / "spool")
        self.settings = Settings(mode="report", data_dir=folder, **self.medium.settings)
        self.spool = self.medium.spool
        self.now = NOW
        self.keeping = Keeping(
            self.settings, database, Wake(str(folder)), "host:1", lambda: self.now
        )

    @property
    def root(self) -> Path:
        """The spool's folder, where it is one."""
        return self.settings.spool

    def set(self, **keep: Any) -> Keeping:
        """What jobs work on, with these settings of `[keep]`."""
        settings = self.settings.model_copy(update={"keep": Keep(**keep)})
        self.keeping = replace(self.keeping, settings=settings)
        return self.keeping

    def store(self, ds: Dataset) -> str:
        """A slice's file, as a receiver leaves it before the row; its path."""
        dataset = encode(ds, False, True)
        assert dataset is not None
        syntax = str(ds.file_meta.TransferSyntaxUID)
        head = file_head(str(ds.SOPClassUID), str(ds.SOPInstanceUID), syntax)
        there = set(self.files())
        path = self.spool.store(head, dataset).path
        if path not in there:
            self.date(path)
        return path

    def write(self, path: str, content: bytes) -> None:
        """A file of the spool gets this content now."""
        self.medium.write(path, content)
        self.date(path)

    def date(self, path: str) -> None:
        self.medium.date(path, self.now)

    def receive(self, series: int, *numbers: int, study: int = 1) -> list[str]:
        """Slices of a series arrive now; their paths."""
        association_id = reception.start_association(
            self.database,
            calling_ae_title="CT1",
            address="127.0.0.1",
            receiver="host:1",
            now=self.now,
        )
        paths = [self.store(slice_of(series, number, study)) for number in numbers]
        for path in paths:
            record_object(
                self.database,
                received_object(self.spool, path),
                association_id=association_id,
                complete=self.settings.complete,
                now=self.now,
            )
        return paths

    def score(self, score: float | None = 3.0) -> None:
        """All that waits gets this score, or is excluded."""
        while (claim := self.claim()) is not None:
            outcomes = [
                FrameOutcome(
                    frame_id=one.frame_id,
                    stack="axial",
                    position_mm=float(one.frame_id),
                    score=score,
                    spread=None,
                    noise_hu=None,
                    snr=None,
                    level=None,
                    drawn_at_level=None,
                    bundle_digest=BUNDLE.digest,
                    excluded=None if score is not None else "a localizer",
                    thumbnail=None,
                )
                for one in claim.frames
            ]
            scoring.store(self.database, claim, outcomes, thumbnails_kept=2, now=self.now)

    def claim(self, lease_s: float = 60) -> scoring.Claim | None:
        return scoring.claim(
            self.database, limit=100, lease_s=lease_s, max_attempts=3, now=self.now
        )

    def close(self, *, held: str = "") -> None:
        """Every series that is due is judged and reported to a PACS."""
        for series_id in closing.due_series(self.database, self.now):
            seen = closing.snapshot(self.database, series_id)
            assessment = judge(
                seen.facts, seen.slices, BUNDLE, POLICY, configured_mode="report",
                commissioning=WAIVED,
            )  # fmt: skip
            assert closing.close(
                self.database, seen, assessment, [report_of(seen)], Issue(("pacs",), held),
                report_study=False, now=self.now,
            )  # fmt: skip

    def deliver(self) -> None:
        while True:
            parcel = outbox.claim(self.database, ["pacs"], lease_s=60, now=self.now)
            if parcel is None:
                return
            outbox.delivered(self.database, parcel, self.now)

    def done(self, series: int, *numbers: int, study: int = 1, score: float = 3.0) -> list[str]:
        """A series from its first slice to its report in PACS; half a minute passes."""
        paths = self.receive(series, *numbers, study=study)
        self.score(score)
        self.now += 31
        self.close()
        self.deliver()
        return paths

    def files(self) -> list[str]:
        """What lies in the spool."""
        return self.medium.files()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def tally(self) -> dict[str, float]:
        rows = self.rows("SELECT name, labels, value FROM tally WHERE name LIKE 'swept%'")
        rows += self.rows("SELECT name, labels, value FROM tally WHERE name LIKE 'removed%'")
        return {" ".join(row[:2]).strip(): row[2] for row in rows}


def slice_of(series: int, number: int, study: int = 1) -> Dataset:
    uid = f"1.2.826.0.1.{study}.{series}"
    return ct_slice(
        number,
        SeriesInstanceUID=uid,
        StudyInstanceUID=f"1.2.826.0.1.{study}",
        SOPInstanceUID=f"{uid}.{number}",
        pixels=chest(16, seed=series * 1000 + number),
    )
