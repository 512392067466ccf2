"""The tables. Times are seconds since the epoch, UTC; `docs/states.md` draws the states."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class ObjectState(StrEnum):
    """What an object is to the gate."""

    IMAGE = "image"
    """Its frames are scored or excluded, each with a reason."""
    SET_ASIDE = "set-aside"
    """Acknowledged and recorded, never assessed: documents, reports, the gate's own objects."""
    CONTESTED = "contested"
    """Another object under a SOP Instance UID already known; frames not compared yet."""
    DUPLICATE = "duplicate"
    """The same image in another transfer syntax."""
    CONFLICT = "conflict"
    """A different image under a known UID: stored under its digest, flagged, never scored."""


class FrameState(StrEnum):
    AWAITING_COMPANION = "awaiting-companion"
    """PET whose CT is not known yet, or not complete."""
    WAITING = "waiting"
    LEASED = "leased"
    SCORED = "scored"
    EXCLUDED = "excluded"
    DEAD = "dead"


class FrameWork(StrEnum):
    """What is to be done with a frame row."""

    SCORE = "score"
    COMPARE = "compare"
    """Decide whether a contested object is the known image in another transfer syntax."""


class SeriesState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class OutboxState(StrEnum):
    HELD = "held"
    """Built and kept back: the series' mode is shadow or notify."""
    WAITING = "waiting"
    LEASED = "leased"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        # SQLite's integers have 64 bits by any name, and only INTEGER numbers rows by itself
        int: BigInteger().with_variant(Integer(), "sqlite")
    }
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class AssociationRow(Base):
    """One association that carried objects, from A-ASSOCIATE to its end."""

    __tablename__ = "association"

    id: Mapped[int] = mapped_column(primary_key=True)
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64))
    receiver: Mapped[str] = mapped_column(String(64))
    """The receiving process, so that associations of a dead one can be ended."""
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    end: Mapped[str | None] = mapped_column(String(16))
    """`released`, `aborted`, or `lost` with its receiver."""

    __table_args__ = (Index(None, "calling_ae_title", "ended_at"),)


class AssociationSeriesRow(Base):
    """Which series an association carried."""

    __tablename__ = "association_series"

    association_id: Mapped[int] = mapped_column(ForeignKey("association.id"), primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), primary_key=True)


class StudyRow(Base):
    """One study. Patient identity stands here, and in the stored objects, and nowhere else."""

    __tablename__ = "study"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    patient_name: Mapped[str] = mapped_column(Text)
    patient_id: Mapped[str] = mapped_column(Text)
    study_date: Mapped[str] = mapped_column(String(16))
    report_due: Mapped[bool]
    """A series of it closed since its last report (report scope `study`)."""


class SeriesRow(Base):
    """One series. `generation` counts every stored object: closing is guarded by it."""

    __tablename__ = "series"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(String(64))
    modality: Mapped[str] = mapped_column(String(16))
    scanner: Mapped[str] = mapped_column(String(200))
    acquisition: Mapped[str] = mapped_column(String(200), index=True)
    facts: Mapped[str] = mapped_column(Text)
    """`SeriesFacts` as JSON."""
    state: Mapped[str] = mapped_column(String(16))
    generation: Mapped[int]
    reopened: Mapped[int]
    first_object_at: Mapped[float]
    last_object_at: Mapped[float] = mapped_column(index=True)
    closes_at: Mapped[float]
    provisional: Mapped[str | None] = mapped_column(Text)
    """The provisional `Assessment` as JSON while slices still arrive."""
    provisional_at: Mapped[float | None]
    provisional_generation: Mapped[int | None]
    provisional_slices: Mapped[int | None]
    """What the provisional verdict rests on: the series' generation, and how many slices were done
    with then."""
    companion_id: Mapped[int | None] = mapped_column(ForeignKey("series.id"), index=True)
    """PET: the CT series it is fused with."""
    companion_generation: Mapped[int | None]
    """The generation of that CT that its frames were drawn with."""

    __table_args__ = (
        UniqueConstraint("study_id", "series_instance_uid"),
        Index(None, "state", "closes_at"),
        Index(None, "scanner", "last_object_at"),
        Index(None, "series_instance_uid"),
    )


class ObjectRow(Base):
    """One stored SOP Instance: identity is SOP Instance UID and SHA-256 of its dataset."""

    __tablename__ = "object"

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(Text)
    """Relative to the spool."""
    size_bytes: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[float]

    __table_args__ = (UniqueConstraint("sop_instance_uid", "sha256"),)


class FrameRow(Base):
    """One frame: the unit of scoring, and the queue."""

    __tablename__ = "frame"

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[int] = mapped_column(ForeignKey("object.id"), index=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    frame_number: Mapped[int]
    instance_number: Mapped[int | None]
    work: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(24))
    attempts: Mapped[int]
    lease_token: Mapped[str | None] = mapped_column(String(36))
    lease_expires_at: Mapped[float | None]
    received_at: Mapped[float]
    scored_at: Mapped[float | None]
    bundle_digest: Mapped[str | None] = mapped_column(String(64))
    stack: Mapped[str] = mapped_column(String(200))
    position_mm: Mapped[float | None]
    score: Mapped[float | None]
    spread: Mapped[float | None]
    noise_hu: Mapped[float | None]
    snr: Mapped[float | None]
    """MR: of the foreground; PET: of the liver, where the slice shows it."""
    level: Mapped[float | None]
    """MR: what the slice says of its stack's intensity (`models.intensity`)."""
    drawn_at_level: Mapped[float | None]
    """MR: the stack's level that it was drawn and scored at."""
    reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        UniqueConstraint("object_id", "frame_number"),
        Index(None, "state", "received_at"),
        Index(None, "series_id", "state"),
    )


class ThumbnailRow(Base):
    """A picture, grey or RGB, of one of a series' worst slices, kept so reports decode nothing."""

    __tablename__ = "thumbnail"

    frame_id: Mapped[int] = mapped_column(ForeignKey("frame.id"), primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    score: Mapped[float]
    rows: Mapped[int]
    columns: Mapped[int]
    pixels: Mapped[bytes] = mapped_column(LargeBinary)


class AssessmentRow(Base):
    """The judgement of one generation of a series; exactly one of a closed series is current."""

    __tablename__ = "assessment"

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    generation: Mapped[int]
    current: Mapped[bool]
    verdict: Mapped[str] = mapped_column(String(16))
    score: Mapped[float | None]
    alarm: Mapped[bool]
    """It does not meet, and its series is the one its acquisition alarms on."""
    body: Mapped[str] = mapped_column(Text)
    """The whole `Assessment` as JSON."""
    last_object_at: Mapped[float]
    created_at: Mapped[float] = mapped_column(index=True)

    __table_args__ = (
        UniqueConstraint("series_id", "generation"),
        Index(None, "series_id", "current"),
    )


class ReportRow(Base):
    """One built DICOM object, its bytes stored once and resent as stored."""

    __tablename__ = "report"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(24))
    """`structured-report` or `summary-image`."""
    scope_uid: Mapped[str] = mapped_column(String(64), index=True)
    """The Study or Series Instance UID it speaks of."""
    study_instance_uid: Mapped[str] = mapped_column(String(64), index=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    sop_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    series_instance_uid: Mapped[str] = mapped_column(String(64))
    predecessor_id: Mapped[int | None] = mapped_column(ForeignKey("report.id"))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float]


class ReportAssessmentRow(Base):
    """Which assessments a report tells of."""

    __tablename__ = "report_assessment"

    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"), primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessment.id"), primary_key=True)


class OutboxRow(Base):
    """One report on its way to one destination."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"))
    destination: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    next_attempt_at: Mapped[float]
    lease_token: Mapped[str | None] = mapped_column(String(36))
    lease_expires_at: Mapped[float | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    """Why it was not delivered the last time, or why it is held."""
    created_at: Mapped[float]
    delivered_at: Mapped[float | None]

    __table_args__ = (
        UniqueConstraint("report_id", "destination"),
        Index(None, "state", "next_attempt_at"),
    )


class CommissioningRow(Base):
    """Who signed off which limits, for which scanner and rule, on which bundle. Never changed; a
    later row for the same scanner and rule takes its place."""

    __tablename__ = "commissioning"

    id: Mapped[int] = mapped_column(primary_key=True)
    scanner: Mapped[str] = mapped_column(String(200))
    rule: Mapped[str] = mapped_column(String(200))
    bundle_digest: Mapped[str] = mapped_column(String(64))
    limits: Mapped[str] = mapped_column(Text)
    """The rule's statistic and limits as JSON, as they were signed."""
    signed_by: Mapped[str] = mapped_column(Text)
    signed_at: Mapped[float]
    evidence: Mapped[str] = mapped_column(Text)
    """What the proposal was made from, as JSON: acquisitions, alarm budget, interval."""

    __table_args__ = (Index(None, "scanner", "rule"),)


class RoleRow(Base):
    """A running role process, as it last said of itself."""

    __tablename__ = "role"

    process: Mapped[str] = mapped_column(String(64), primary_key=True)
    """host:pid"""
    role: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[float]
    seen_at: Mapped[float]
    ready: Mapped[bool]
    detail: Mapped[str] = mapped_column(Text)


class TallyRow(Base):
    """A monotone counter, raised in the very transaction that makes it true."""

    __tablename__ = "tally"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    labels: Mapped[str] = mapped_column(String(200), primary_key=True)
    """Label values joined by a tab, in the order the metric declares them."""
    value: Mapped[float]
