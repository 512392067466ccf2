"""The SCP of two notification services, whose contents close series early (`ledger.announcing`).

Modality Performed Procedure Step (PS3.4 F.7: N-CREATE, N-SET) says which images a modality made;
Instance Availability Notification (PS3.4 R.3: N-CREATE) which an archive holds. Of both only the
series and instances are kept. Statuses sent (PS3.7 10.1.5.1.6, 10.1.3.1.9):

    0x0000  its row is durable
    0x0106  Performed Procedure Step Status is not one that this operation may set
    0x0110  it does not parse; or the step has ended and may no longer be updated (Error ID A710)
    0x0111  the SOP Instance UID is taken
    0x0112  no such step to set
    0x0120  an attribute of Type 1 is missing, 0x0121 it has no value; Error Comment names it
    0x0213  the ledger cannot be written
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, cast

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
)
from sqlalchemy.exc import DBAPIError

from service import header
from service.errors import LedgerUnavailable, UnreadableObject
from service.ledger import announcing
from service.ledger.announcing import AnnouncedSeries, Recorded, StepState
from service.ledger.database import Database
from service.ledger.wake import Wake
from service.log import line

log = logging.getLogger("iqgate.receive")

SOP_CLASSES: tuple[UID, ...] = (ModalityPerformedProcedureStep, InstanceAvailabilityNotification)
TRANSFER_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]

SUCCESS = 0x0000
INVALID_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE = 0x0111
NO_SUCH_INSTANCE = 0x0112
MISSING_ATTRIBUTE = 0x0120
MISSING_VALUE = 0x0121
RESOURCE_LIMITATION = 0x0213
NOT_UPDATABLE = 0xA710
"""Error ID of a step that has ended (PS3.4 Table F.7.2-2)."""

STEP_TYPE_1 = (
    "ScheduledStepAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepStatus",
    "Modality",
)
"""What a step must come with (PS3.4 Table F.7.2-1)."""
NOTIFICATION_TYPE_1 = ("StudyInstanceUID", "ReferencedSeriesSequence")
"""What a notification must come with (PS3.4 Table R.3.2-1)."""
ONLINE = "ONLINE"
"""Instance Availability (0008,0056) of what counts (PS3.3 C.4.23.1.1)."""

_Answer = tuple[Dataset, Dataset | None]


class Refusal(Exception):
    """A request that is answered with another status than success."""

    def __init__(self, status: int, comment: str, error_id: int | None = None) -> None:
        super().__init__(comment)
        self.status = status
        self.error_id = error_id


class Announcements:
    """Takes announcements; bind `handlers` to a server whose AE has the `contexts`."""

    def __init__(
        self, database: Database, settle_s: float, wake: Wake, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._settle_s = settle_s
        self._wake = wake
        self._clock = clock

    @staticmethod
    def add_contexts(ae: AE) -> None:
        for sop_class in SOP_CLASSES:
            ae.add_supported_context(sop_class, TRANSFER_SYNTAXES)

    @property
    def handlers(self) -> list[tuple[evt.InterventionEvent, Callable[[evt.Event], _Answer]]]:
        return [(evt.EVT_N_CREATE, self._on_create), (evt.EVT_N_SET, self._on_set)]

    def _on_create(self, event: evt.Event) -> _Answer:
        request = cast(Any, event.request)
        uid = str(request.AffectedSOPInstanceUID or generate_uid(prefix=None))
        answer = self._answered(
            lambda: self._create(event, str(request.AffectedSOPClassUID), uid), uid
        )
        if answer.Status != SUCCESS or request.AffectedSOPInstanceUID:
            return answer, None
        given = Dataset()
        given.AffectedSOPInstanceUID = uid  # which the SCU left to us (PS3.7 10.1.5.1.4)
        return answer, given

    def _on_set(self, event: evt.Event) -> _Answer:
        uid = str(cast(Any, event.request).RequestedSOPInstanceUID)
        return self._answered(lambda: self._set(event, uid), uid), None

    def _create(self, event: evt.Event, sop_class_uid: str, uid: str) -> bool:
        """Record a new announcement; whether a series closes earlier for it."""
        with _parsing():
            ds = _attributes(event, cast(Any, event.request).AttributeList)
            if sop_class_uid == ModalityPerformedProcedureStep:
                state, series = StepState.IN_PROGRESS, _new_step(ds)
            else:
                state, series = StepState.COMPLETED, _notification(ds)
        recorded, hastened = announcing.announce(
            self._database,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=uid,
            state=state,
            series=series,
            calling_ae_title=cast(Any, event.assoc).requestor.ae_title.strip(),
            settle_s=self._settle_s,
            now=self._clock(),
        )
        if recorded is Recorded.KNOWN:
            raise Refusal(DUPLICATE, "the SOP Instance UID is known here")
        return hastened

    def _set(self, event: evt.Event, uid: str) -> bool:
        """Change a step; whether a series closes earlier for it."""
        with _parsing():
            ds = _attributes(event, cast(Any, event.request).ModificationList)
            state = _state(ds) if "PerformedProcedureStepStatus" in ds else None
            series = list(_performed(ds)) if "PerformedSeriesSequence" in ds else None
        recorded, hastened = announcing.amend(
            self._database,
            uid,
            state=state,
            series=series,
            settle_s=self._settle_s,
            now=self._clock(),
        )
        match recorded:
            case Recorded.UNKNOWN:
                raise Refusal(NO_SUCH_INSTANCE, "no such performed procedure step is known here")
            case Recorded.ENDED:
                raise Refusal(
                    PROCESSING_FAILURE,
                    "Performed Procedure Step Object may no longer be updated",
                    error_id=NOT_UPDATABLE,
                )
            case Recorded.EMPTY:
                raise Refusal(MISSING_VALUE, "empty: PerformedSeriesSequence")
        return hastened

    def _answered(self, step: Callable[[], bool], uid: str) -> Dataset:
        """The status of what `step` did."""
        answer = Dataset()
        answer.Status = SUCCESS
        try:
            try:
                hastened = step()
            except LedgerUnavailable as error:
                raise Refusal(RESOURCE_LIMITATION, "the ledger is away") from error
            except DBAPIError as error:
                log.exception(line("ledger-failed"))
                raise Refusal(RESOURCE_LIMITATION, "the ledger cannot be written") from error
        except Refusal as refusal:
            log.warning(
                line(
                    "announcement-refused",
                    status=f"0x{refusal.status:04X}",
                    sop_instance_uid=uid,
                    reason=refusal,
                )
            )
            answer.Status = refusal.status
            answer.ErrorComment = str(refusal)[:64]
            if refusal.error_id is not None:
                answer.ErrorID = refusal.error_id
            return answer
        if hastened:
            self._wake.role("conclude")
        return answer


@contextmanager
def _parsing() -> Iterator[None]:
    """Raise Refusal where what is read within the block is broken."""
    try:
        yield
    except UnreadableObject as error:
        raise Refusal(PROCESSING_FAILURE, str(error)) from error
    except header.BROKEN as error:
        raise Refusal(PROCESSING_FAILURE, f"broken: {type(error).__name__}") from error


def _new_step(ds: Dataset) -> list[AnnouncedSeries]:
    _require(ds, STEP_TYPE_1)
    for item in ds.ScheduledStepAttributesSequence:
        _require(item, ("StudyInstanceUID",))
    if _state(ds) is not StepState.IN_PROGRESS:
        raise Refusal(INVALID_VALUE, "a step begins IN PROGRESS")
    return list(_performed(ds))


def _notification(ds: Dataset) -> list[AnnouncedSeries]:
    _require(ds, NOTIFICATION_TYPE_1)
    return list(_available(ds))


def _attributes(event: evt.Event, encoded: BytesIO | None) -> Dataset:
    if encoded is None:
        raise Refusal(PROCESSING_FAILURE, "it carries no attributes")
    return header.parse_header(encoded.getvalue(), str(event.context.transfer_syntax))


def _require(ds: Dataset, keywords: tuple[str, ...]) -> None:
    """Raise Refusal naming the attributes that are missing, or else those without a value."""
    missing = tuple(one for one in keywords if one not in ds)
    if missing:
        raise Refusal(MISSING_ATTRIBUTE, f"missing: {', '.join(missing)}")
    empty = tuple(one for one in keywords if not ds[one].value)
    if empty:
        raise Refusal(MISSING_VALUE, f"empty: {', '.join(empty)}")


def _state(ds: Dataset) -> StepState:
    stated = header.text(ds, "PerformedProcedureStepStatus", 16)
    try:
        return StepState(stated)
    except ValueError as error:
        raise Refusal(INVALID_VALUE, "Performed Procedure Step Status is not known") from error


def _performed(ds: Dataset) -> Iterator[AnnouncedSeries]:
    """Each performed series with its images and other composite instances."""
    for series in ds.get("PerformedSeriesSequence") or ():
        yield _series(
            series,
            [
                *(series.get("ReferencedImageSequence") or ()),
                *(series.get("ReferencedNonImageCompositeSOPInstanceSequence") or ()),
            ],
        )


def _available(ds: Dataset) -> Iterator[AnnouncedSeries]:
    """Each series with those of its instances that are online."""
    for series in ds.ReferencedSeriesSequence:
        _require(series, ("ReferencedSOPSequence",))
        for one in series.ReferencedSOPSequence:
            _require(one, ("InstanceAvailability",))
        yield _series(
            series,
            [
                one
                for one in series.ReferencedSOPSequence
                if header.text(one, "InstanceAvailability", 16) == ONLINE
            ],
        )


def _series(series: Dataset, references: list[Dataset]) -> AnnouncedSeries:
    _require(series, ("SeriesInstanceUID",))
    for one in references:
        _require(one, ("ReferencedSOPInstanceUID",))
    uids = (header.text(one, "ReferencedSOPInstanceUID") for one in references)
    return AnnouncedSeries(header.text(series, "SeriesInstanceUID"), tuple(dict.fromkeys(uids)))
