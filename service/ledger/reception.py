"""An object's first transaction, and the beginnings and ends of associations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, and_, bindparam, insert, select, update

from service.config import Complete
from service.judge.evidence import SeriesFacts
from service.ledger import announcing, json_text, senders, settling, tally, turns
from service.ledger.database import Database, retried
from service.ledger.tables import (
    AssociationRow,
    AssociationSeriesRow,
    FrameRow,
    FrameState,
    FrameWork,
    ObjectRow,
    ObjectState,
    SeriesRow,
    SeriesState,
    StudyRow,
)


class Outcome(StrEnum):
    """What a received object turned out to be."""

    STORED = "stored"
    REPEATED = "repeated"
    """The very same object again: nothing changes."""
    CONTESTED = "contested"
    """Another object under a known UID: kept, its frames to be compared."""


@dataclass(frozen=True)
class Origin:
    """What every object of a series has in common."""

    facts: SeriesFacts
    patient_name: str
    patient_id: str
    study_date: str


@dataclass(frozen=True)
class ReceivedObject:
    """An object whose bytes are durable. `set_aside` says why it will never be assessed."""

    facts: SeriesFacts
    patient_name: str
    patient_id: str
    study_date: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    instance_number: int | None
    frames: int
    path: str
    sha256: str
    size_bytes: int
    set_aside: str | None


@dataclass(frozen=True)
class Arrival:
    """An object, the association that carried it, and when it was received."""

    received: ReceivedObject
    association_id: int
    at: float


@retried
def record_objects(
    database: Database, arrivals: Sequence[Arrival], *, complete: Complete
) -> list[Outcome]:
    """Make stored objects known in one transaction: their rows, their series opened again, their
    frames waiting. The outcome of each, in order; all are recorded, or none and it raises."""
    with database.write() as connection:
        turns.take(connection, *_turns(arrivals))
        group = _Group(connection, complete)
        outcomes = [group.add(arrival) for arrival in arrivals]
        group.finish()
    return outcomes


@retried
def record_refusal(database: Database, status: int, times: int = 1) -> None:
    """Count objects refused before they were stored, by C-STORE status."""
    with database.write() as connection:
        tally.count(connection, "refused", f"0x{status:04X}", by=times)


@retried
def start_association(
    database: Database, *, calling_ae_title: str, address: str, receiver: str, now: float
) -> int:
    with database.write() as connection:
        return int(
            connection.execute(
                insert(AssociationRow)
                .values(
                    calling_ae_title=calling_ae_title,
                    address=address,
                    receiver=receiver,
                    started_at=now,
                )
                .returning(AssociationRow.id)
            ).scalar_one()
        )


@retried
def end_association(
    database: Database, association_id: int, end: str, *, settle_s: float | None, now: float
) -> bool:
    """Record an association's end (`released`, `aborted`).

    With `settle_s` (its sender sends whole series on one association), a release while the
    sender has no other association open brings forward the closing of every series that only
    released associations of this sender carried. Returns whether any closing was brought forward.
    """
    with database.write() as connection:
        title = settling.calling_ae_title(connection, association_id) if settle_s else ""
        connection.execute(
            update(AssociationRow)
            .where(AssociationRow.id == association_id, AssociationRow.ended_at.is_(None))
            .values(ended_at=now, end=end)
        )
        if settle_s is None or end != "released":
            return False
        return settling.settle(connection, title, settle_s, now)


def quiet_s(complete: Complete, reopened: int) -> float:
    """The quiet period of a series re-opened so many times: doubling, up to the maximum."""
    return float(
        min(
            complete.quiet_s * 2 ** min(reopened, 30),
            max(complete.quiet_s, complete.reopened_quiet_max_s),
        )
    )


# Statements of the hot path are built once: building one costs six times what it takes to run it.
_DIGESTS = select(ObjectRow.sha256).where(ObjectRow.sop_instance_uid == bindparam("sop_uid"))
_STUDY_AND_SERIES = (
    select(
        StudyRow.id.label("study_id"),
        SeriesRow.id.label("series_id"),
        SeriesRow.state,
        SeriesRow.reopened,
        SeriesRow.last_object_at,
    )
    .select_from(StudyRow)
    .outerjoin(
        SeriesRow,
        and_(
            SeriesRow.study_id == StudyRow.id,
            SeriesRow.series_instance_uid == bindparam("series_uid"),
        ),
    )
    .where(StudyRow.study_instance_uid == bindparam("study_uid"))
)
_NEW_STUDY = insert(StudyRow).returning(StudyRow.id)
_NEW_SERIES = insert(SeriesRow).returning(SeriesRow.id)
_NEW_OBJECT = insert(ObjectRow).returning(ObjectRow.id)
_NEW_FRAMES = insert(FrameRow)
_GROWN_SERIES = (
    update(SeriesRow)
    .where(SeriesRow.id == bindparam("of_series"))
    .values(
        state=SeriesState.OPEN,
        generation=SeriesRow.generation + bindparam("more"),
        reopened=bindparam("times_reopened"),
        last_object_at=bindparam("last_at"),
        closes_at=bindparam("closing_at"),
    )
)
_CARRIED = select(AssociationSeriesRow.series_id).where(
    AssociationSeriesRow.association_id == bindparam("association_id"),
    AssociationSeriesRow.series_id == bindparam("series_id"),
)
_NEW_CARRIED = insert(AssociationSeriesRow)


@dataclass
class _GrowingSeries:
    """A series that objects of this group belong to."""

    id: int
    reopened: int
    """Counting this time, where it was closed."""
    more: int = 0
    last_at: float = 0.0


class _Group:
    """Objects recorded in one transaction: what they share is read and written once."""

    def __init__(self, connection: Connection, complete: Complete) -> None:
        self._connection = connection
        self._complete = complete
        self._series: dict[tuple[str, str], _GrowingSeries] = {}
        self._frames: list[dict[str, object]] = []
        self._carried: set[tuple[int, int]] = set()
        self._reopened: list[tuple[int, int]] = []
        """Series that were closed, and the association that opened them again."""
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, arrival: Arrival) -> Outcome:
        """Write the object's own row, and note what else it brings."""
        received = arrival.received
        digests = set(
            self._connection.execute(_DIGESTS, {"sop_uid": received.sop_instance_uid}).scalars()
        )
        if received.sha256 in digests:
            self._counts[received.facts.modality, Outcome.REPEATED] += 1
            return Outcome.REPEATED
        outcome = Outcome.CONTESTED if digests else Outcome.STORED
        self._counts[received.facts.modality, outcome] += 1
        series = self._open_series(arrival)
        series.more += 1
        series.last_at = max(series.last_at, arrival.at)
        self._carried.add((arrival.association_id, series.id))
        if received.set_aside is not None:
            state = ObjectState.CONFLICT if digests else ObjectState.SET_ASIDE
        else:
            state = ObjectState.CONTESTED if digests else ObjectState.IMAGE
        object_id = self._connection.execute(
            _NEW_OBJECT,
            {
                "series_id": series.id,
                "sop_instance_uid": received.sop_instance_uid,
                "sha256": received.sha256,
                "sop_class_uid": received.sop_class_uid,
                "transfer_syntax_uid": received.transfer_syntax_uid,
                "path": received.path,
                "size_bytes": received.size_bytes,
                "state": state,
                "reason": received.set_aside,
                "received_at": arrival.at,
            },
        ).scalar_one()
        if received.set_aside is None:
            self._frames += _frames(arrival, object_id, series.id, outcome)
        return outcome

    def finish(self) -> None:
        """Write what the objects brought: series grown, frames, carriers, counts."""
        for series in sorted(self._series.values(), key=lambda one: one.id):
            self._connection.execute(
                _GROWN_SERIES,
                {
                    "of_series": series.id,
                    "more": series.more,
                    "times_reopened": series.reopened,
                    "last_at": series.last_at,
                    "closing_at": series.last_at + quiet_s(self._complete, series.reopened),
                },
            )
        if self._frames:
            self._connection.execute(_NEW_FRAMES, self._frames)
        for association_id, series_id in sorted(self._carried):
            key = {"association_id": association_id, "series_id": series_id}
            if self._connection.execute(_CARRIED, key).scalar_one_or_none() is None:
                self._connection.execute(_NEW_CARRIED, key)
        self._close_announced()
        with tally.counting(self._connection) as counts:
            for (modality, outcome), number in self._counts.items():
                counts.count("received", modality, outcome, by=number)
            for series_id, association_id in sorted(self._reopened):
                senders.count_reopened(self._connection, counts, series_id, association_id)

    def _close_announced(self) -> None:
        """What came may have been the last of what was announced."""
        grown = [one.id for one in self._series.values()]
        last_at = max((one.last_at for one in self._series.values()), default=0.0)
        announcing.arrived(self._connection, grown, self._complete.settle_s, last_at)

    def _open_series(self, arrival: Arrival) -> _GrowingSeries:
        """The object's series, read or created once a group."""
        facts = arrival.received.facts
        key = (facts.study_instance_uid, facts.series_instance_uid)
        if key not in self._series:
            found = self._connection.execute(
                _STUDY_AND_SERIES, {"study_uid": key[0], "series_uid": key[1]}
            ).one_or_none()
            if found is not None and found.series_id is not None:
                reopened = found.reopened + (found.state == SeriesState.CLOSED)
                if found.state == SeriesState.CLOSED:
                    self._reopened.append((found.series_id, arrival.association_id))
                # what another receiver committed before may have come after
                self._series[key] = _GrowingSeries(
                    found.series_id, reopened, last_at=found.last_object_at
                )
            else:
                study_id = self._new_study(arrival.received) if found is None else found.study_id
                self._series[key] = _GrowingSeries(self._new_series(study_id, arrival), 0)
        return self._series[key]

    def _new_study(self, received: ReceivedObject) -> int:
        values = {
            "study_instance_uid": received.facts.study_instance_uid,
            "patient_name": received.patient_name,
            "patient_id": received.patient_id,
            "study_date": received.study_date,
            "report_due": False,
        }
        return int(self._connection.execute(_NEW_STUDY, values).scalar_one())

    def _new_series(self, study_id: int, arrival: Arrival) -> int:
        """A series that holds nothing yet; `finish` makes it grow."""
        facts = arrival.received.facts
        values = {
            "study_id": study_id,
            "series_instance_uid": facts.series_instance_uid,
            "modality": facts.modality,
            "scanner": facts.scanner,
            "acquisition": facts.acquisition,
            "facts": json_text.dump(facts),
            "state": SeriesState.OPEN,
            "generation": 0,
            "reopened": 0,
            "first_object_at": arrival.at,
            "last_object_at": arrival.at,
            "closes_at": arrival.at,
        }
        return int(self._connection.execute(_NEW_SERIES, values).scalar_one())


def _turns(arrivals: Sequence[Arrival]) -> set[str]:
    """Of the studies that grow, and of the SOP Instance UIDs: the same one may come to two
    receivers at once, in two studies even."""
    return {turns.study(one.received.facts.study_instance_uid) for one in arrivals} | {
        turns.object_(one.received.sop_instance_uid) for one in arrivals
    }


def _frames(
    arrival: Arrival, object_id: int, series_id: int, outcome: Outcome
) -> list[dict[str, object]]:
    """One row a frame; a contested object is one piece of work, however many frames it holds.

    PET is scored fused with its CT, which has to be found first (`pairing`).
    """
    received = arrival.received
    contested = outcome is Outcome.CONTESTED
    fused = received.facts.modality == "PT" and not contested
    stated = received.instance_number
    # an Integer String has 32 bits (PS3.5 6.2); what claims more is not stated
    instance_number = stated if stated is not None and abs(stated) < 2**31 else None
    return [
        {
            "object_id": object_id,
            "series_id": series_id,
            "frame_number": number,
            "instance_number": instance_number,
            "work": FrameWork.COMPARE if contested else FrameWork.SCORE,
            "state": FrameState.AWAITING_COMPANION if fused else FrameState.WAITING,
            "attempts": 0,
            "received_at": arrival.at,
            "stack": "",
        }
        for number in range(1, 2 if contested else received.frames + 1)
    ]
