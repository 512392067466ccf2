"""Where an object comes from: its patient, study and series, as its header says.

The ledger keeps what the first object of a series says. Objects that follow are known by three
values, so that the other two dozen are read once a series; they take a fifth of an object's time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from pydicom import Dataset

from service import header
from service.errors import UnreadableObject
from service.ledger.reception import Origin

REMEMBERED = 512
"""Series; each takes about a kilobyte."""

_KEY = ("StudyInstanceUID", "SeriesInstanceUID", "Modality")
_Key = tuple[str, ...]


class Origins:
    """Reads origins, and remembers those of the series last seen; safe from any thread."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, Origin] = OrderedDict()

    def of(self, ds: Dataset) -> Origin:
        """The origin of an object's series. Raises UnreadableObject where it names none."""
        key = tuple(header.text(ds, keyword) for keyword in _KEY)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        if not key[0] or not key[1]:
            raise UnreadableObject("Study or Series Instance UID is missing")
        origin = Origin(
            facts=header.series_facts(ds),
            patient_name=header.text(ds, "PatientName", 324),
            patient_id=header.text(ds, "PatientID"),
            study_date=header.text(ds, "StudyDate", 16),
        )
        with self._lock:
            self._known[key] = origin
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return origin
