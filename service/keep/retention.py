"""Retention: images of studies that are done with go, the longest quiet first; what was found out
about them stays.

A study goes as a whole, because its series are fused and reported together. Its rows are marked
first and its files unlinked after: whoever dies in between leaves files that the sweep removes, and
never a row that promises a file already gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from service.config import Keep
from service.ledger import keeping
from service.ledger.database import Database
from service.ledger.keeping import Due
from service.spool.face import Spool

DAY_S = 24 * 3600.0


@dataclass
class Retained:
    """Objects and bytes that went, and studies that were due to go but for something."""

    objects: int = 0
    size_bytes: int = 0
    kept: Counter[Due] = field(default_factory=Counter)

    def in_words(self) -> str:
        kept = "".join(f"; {count} studies stay: {due}" for due, count in sorted(self.kept.items()))
        return f"{self.objects} images removed, {self.size_bytes / 1e6:.1f} MB{kept}"


def retain(
    database: Database,
    files: Spool,
    settings: Keep,
    clock: Callable[[], float],
    goes_on: Callable[[], bool] = lambda: True,
) -> Retained:
    """Remove images by age and by size. Raises OSError."""
    retained = Retained()
    if not settings.images_days and not settings.images_bytes:
        return retained
    studies = keeping.stored_studies(database)
    excess = 0
    if settings.images_bytes:
        excess = sum(one.size_bytes for one in studies) - settings.images_bytes
    oldest = clock() - settings.images_days * DAY_S if settings.images_days else float("-inf")
    for study in studies:
        if not goes_on() or (study.newest_at >= oldest and excess <= 0):
            break
        went = keeping.mark_removed(database, study, remove_held=settings.remove_held, now=clock())
        if isinstance(went, Due):
            retained.kept[went] += 1
            continue
        for path in went:
            files.remove(path)
        excess -= study.size_bytes
        retained.objects += len(went)
        retained.size_bytes += study.size_bytes
    return retained
