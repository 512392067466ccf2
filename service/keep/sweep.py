"""The sweep: spool and ledger held against each other, both ways.

A file without a row is adopted as if it had been received now, and never removed; what cannot be
read is set aside. A row without a file is flagged; when the file comes back, the flag goes. A file
that retention marked as removed, and was killed before it came to it, is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.config import Complete
from service.errors import RejectedInput, SpoolMissing
from service.keep.adopt import received_object
from service.ledger import keeping, reception, tally
from service.ledger.database import Database
from service.ledger.keeping import Absence, FiledObject
from service.ledger.reception import Arrival, Outcome
from service.log import line
from service.spool.face import SET_ASIDE, SHELVES, Spool

log = logging.getLogger("iqgate.keep")

ADOPTED_AT_ONCE = 100
SENDER = "(spool)"
"""In place of the AE title that nobody knows any more."""
_UNREADABLE, _GONE = "set aside", "gone by now"


@dataclass
class Swept:
    """What was found: files adopted, files that cannot be read, rows without a file, files that are
    there again, removals that had been left half done."""

    adopted: int = 0
    unreadable: int = 0
    missing: int = 0
    returned: int = 0
    removed: int = 0

    def in_words(self) -> str:
        return (
            f"{self.adopted} files adopted, {self.unreadable} set aside as unreadable, "
            f"{self.missing} missing, {self.returned} there again, "
            f"{self.removed} removals finished"
        )


@dataclass(frozen=True)
class Sweep:
    """One sweep. `after_s`: age of a file by which receivers are done with it.

    `believe_empty`: rows are flagged even where the spool holds nothing at all, which otherwise is
    taken for a disk that is not mounted.
    """

    database: Database
    files: Spool
    complete: Complete
    process: str
    clock: Callable[[], float]
    after_s: float
    goes_on: Callable[[], bool] = lambda: True
    believe_empty: bool = False

    def run(self) -> Swept:
        """Go through the whole spool, or until `goes_on` says no. Raises SpoolMissing, OSError."""
        if not self.files.mounted():
            raise SpoolMissing(f"{self.files.name}: no spool is there; is its disk mounted?")
        if not self.believe_empty and self.files.empty() and keeping.expects_files(self.database):
            raise SpoolMissing(
                f"{self.files.name}: the spool is empty, and the ledger names images that should be"
                " in it; is its disk mounted? Nothing was flagged"
            )
        swept = Swept()
        for shelf in SHELVES:
            if self.goes_on():
                self._shelf(shelf, swept)
        return swept

    def _shelf(self, shelf: str, swept: Swept) -> None:
        there = self.files.on_shelf(shelf)
        known = keeping.filed(self.database, shelf)  # read later: what is missing may be new
        self._adopt(sorted(there - {one.path for one in known}), swept)
        missing, returned = [], []
        for one in known:
            here = one.path in there
            if one.absent is None and not here and not self.files.exists(one.path):
                missing.append(one)
            elif one.absent is Absence.MISSING and here:
                returned.append(one)
            elif one.absent is Absence.REMOVED and here:
                if (self.files.written_at(one.path) or 0.0) > one.since:
                    returned.append(one)  # sent again; it goes when it is due again
                else:
                    self.files.remove(one.path)
                    swept.removed += 1
        self._flag(missing, swept)
        if returned:
            swept.returned += keeping.unmark(self.database, returned)

    def _flag(self, missing: Sequence[FiledObject], swept: Swept) -> None:
        if not missing:
            return
        swept.missing += keeping.flag_missing(self.database, missing, self.clock())
        for one in missing:
            log.warning(line("file-missing", sop_instance_uid=one.sop_instance_uid, path=one.path))

    def _adopt(self, paths: Sequence[str], swept: Swept) -> None:
        """Record files that no row names, or set aside what cannot be read."""
        ripe = [one for one in paths if self._ripe(one)]
        for group in _portions(ripe):
            if not self.goes_on():
                return
            found = [self._arrival(one) for one in group]
            unreadable = found.count(_UNREADABLE)
            arrivals = [one for one in found if isinstance(one, Arrival)]
            outcomes = self._record(arrivals) if arrivals else []
            adopted = sum(one is not Outcome.REPEATED for one in outcomes)
            swept.adopted += adopted
            swept.unreadable += unreadable
            with self.database.write() as connection, tally.counting(connection) as counts:
                counts.count("swept_files", "adopted", by=adopted)
                counts.count("swept_files", "unreadable", by=unreadable)

    def _record(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        association_id = reception.start_association(
            self.database,
            calling_ae_title=SENDER,
            address="spool",
            receiver=self.process,
            now=self.clock(),
        )
        carried = [Arrival(one.received, association_id, one.at) for one in arrivals]
        outcomes = reception.record_objects(self.database, carried, complete=self.complete)
        reception.end_association(
            self.database, association_id, "adopted", settle_s=None, now=self.clock()
        )
        for one, outcome in zip(arrivals, outcomes, strict=True):
            uid = one.received.sop_instance_uid
            log.warning(line("file-adopted", sop_instance_uid=uid, outcome=outcome))
        return outcomes

    def _arrival(self, path: str) -> Arrival | str:
        """The file as an object that arrives now, or what became of it instead."""
        try:
            stamp = self.files.stamp(path)
            return Arrival(received_object(self.files, path), 0, self.clock())
        except FileNotFoundError:
            return _GONE
        except RejectedInput as error:
            if not self.files.set_aside(path, stamp):
                return _GONE
            log.error(line("file-unreadable", path=path, moved_to=SET_ASIDE, why=error))
            return _UNREADABLE

    def _ripe(self, path: str) -> bool:
        written_at = self.files.written_at(path)
        return written_at is not None and written_at <= self.clock() - self.after_s


def _portions(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), ADOPTED_AT_ONCE):
        yield paths[start : start + ADOPTED_AT_ONCE]
