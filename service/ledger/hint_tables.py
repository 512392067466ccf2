"""The tables of what others say of series, other than by their images. Times are seconds since the
epoch, UTC."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.ledger.tables import Base


class AnnouncementRow(Base):
    """A performed procedure step (MPPS), or an instance availability notification."""

    __tablename__ = "announcement"

    id: Mapped[int] = mapped_column(primary_key=True)
    sop_class_uid: Mapped[str] = mapped_column(String(64))
    sop_instance_uid: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[str] = mapped_column(String(16))
    """Performed Procedure Step Status; a notification is COMPLETED from its beginning."""
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[float]
    ended_at: Mapped[float | None]


class AnnouncedSeriesRow(Base):
    """What an announcement lists of one series. It counts once the announcement has ended."""

    __tablename__ = "announced_series"

    announcement_id: Mapped[int] = mapped_column(ForeignKey("announcement.id"), primary_key=True)
    series_instance_uid: Mapped[str] = mapped_column(String(64), primary_key=True)
    instances: Mapped[int]
    sop_instance_uids: Mapped[str] = mapped_column(Text)
    """Joined by spaces."""

    __table_args__ = (Index(None, "series_instance_uid"),)


class LabelRow(Base):
    """What somebody said of one image, to stand beside the network's score: a rejection note's
    title and reason. Rows are never changed."""

    __tablename__ = "label"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_uid: Mapped[str] = mapped_column(String(64))
    """SOP Instance UID of the Key Object Selection."""
    series_instance_uid: Mapped[str] = mapped_column(String(64))
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(String(16))
    """Of its title, in DCM (PS3.16 CID 7010)."""
    meaning: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    """Document Title Modifier (CID 7011) in words; empty where it gives none."""
    calling_ae_title: Mapped[str] = mapped_column(String(16))
    labelled_at: Mapped[float]

    __table_args__ = (
        UniqueConstraint("note_uid", "sop_instance_uid"),
        Index(None, "series_instance_uid"),
    )
