"""PET frames that await their CT: where they lie is read from their files, the rest is the
ledger's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.card import Bundle
from models.render import PetCtFused
from service import header
from service.companion import Fusing
from service.config import Complete
from service.errors import RejectedInput
from service.ledger import pairing
from service.ledger.database import Database
from service.ledger.pairing import Unplaced
from service.score.frame import frame_header, position_mm
from service.score.select import EXCLUSIONS
from service.spool.face import Spool


def fusing_of(bundles: Iterable[Bundle], complete: Complete) -> Fusing | None:
    """How PET is fused by these bundles; None where none asks for a fused picture.

    A CT frame that the table of rules excludes (a localizer, a projection, …) is not fused; one
    that is left out for another reason (no bundle for CT, a head in a model of the chest) can be.
    """
    if not any(isinstance(one.card.render, PetCtFused) for one in bundles):
        return None
    return Fusing(frozenset(rule.reason for rule in EXCLUSIONS), complete)


class Pairer:
    """Takes awaiting frames on, whenever something may have changed."""

    def __init__(self, spool: Spool, database: Database, fusing: Fusing | None) -> None:
        self.spool = spool
        self.database = database
        self.fusing = fusing

    def step(self, now: float) -> bool:
        """One pass over every PET series that has frames awaiting; whether any moved."""
        moved = [
            pairing.pair(
                self.database,
                series_id,
                {} if self.fusing is None else self._positions_mm(unplaced),
                self.fusing,
                now,
            )
            for series_id, unplaced in pairing.awaiting(self.database).items()
        ]
        return any(moved)

    def _positions_mm(self, frames: Sequence[Unplaced]) -> dict[int, float | None]:
        """Where frames lie along their normal; None for what cannot be read, which scoring will
        find, too, and name."""
        positions: dict[int, float | None] = {}
        path, ds = "", None
        for one in frames:
            try:
                if ds is None or one.path != path:
                    path, ds = one.path, self.spool.read(one.path)
                positions[one.frame_id] = position_mm(frame_header(ds, one.frame_number))
            except (RejectedInput, *header.BROKEN):
                positions[one.frame_id] = None
        return positions
