"""Rejection notes: Key Object Selection documents that take images back (IHE RAD TF-3, Imaging
Object Change Management).

The note's title says why, in one of four codes (PS3.16 CID 7010); its Document Title Modifier says
more (CID 7011); its content names the images, and its evidence their series (PS3.3 C.17.6.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import KeyObjectSelectionDocumentStorage

from service import header
from service.errors import UnreadableObject
from service.ledger.labels import RejectionNote

KEY_OBJECT_SELECTION = str(KeyObjectSelectionDocumentStorage)
TITLES = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
"""Titles that reject, by their code in DCM."""
TITLE_MODIFIER = "113011"
MAX_DEPTH = 16

_TAGS: list[BaseTag | int] = [
    Tag(keyword)
    for keyword in (
        "SpecificCharacterSet",
        "SOPInstanceUID",
        "ConceptNameCodeSequence",
        "CurrentRequestedProcedureEvidenceSequence",
        "ContentSequence",
    )
]


def read_note(dataset: bytes, transfer_syntax_uid: str) -> RejectionNote | None:
    """What a Key Object Selection rejects; None where its title is another one.

    Raises UnreadableObject where it does not parse or names no images, ObjectTooLarge.
    """
    ds = header.parse_header(dataset, transfer_syntax_uid, _TAGS)
    try:
        return _note(ds)
    except header.BROKEN as error:
        raise UnreadableObject(f"the note does not parse ({type(error).__name__})") from error


def _note(ds: Dataset) -> RejectionNote | None:
    code = _code(ds, "ConceptNameCodeSequence")
    if code not in TITLES:
        return None
    content = list(_items(ds))
    evidence = {uid: series for series, uid in _evidence(ds)}
    named = [uid for item in content for uid in _referenced(item)] or list(evidence)
    images = tuple((evidence[uid], uid) for uid in dict.fromkeys(named) if uid in evidence)
    if not images:
        raise UnreadableObject("the note's evidence names none of its images")
    modifiers = [
        header.text(item.ConceptCodeSequence[0], "CodeMeaning")
        for item in content
        if _code(item, "ConceptNameCodeSequence") == TITLE_MODIFIER
        and item.get("ConceptCodeSequence")
    ]
    return RejectionNote(
        header.text(ds, "SOPInstanceUID"), code, TITLES[code], ", ".join(modifiers), images
    )


def _items(ds: Dataset, depth: int = 0) -> Iterator[Dataset]:
    """Every content item, outermost first."""
    for item in ds.get("ContentSequence") or ():
        yield item
        if depth < MAX_DEPTH:
            yield from _items(item, depth + 1)


def _evidence(ds: Dataset) -> Iterator[tuple[str, str]]:
    for study in ds.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.get("ReferencedSeriesSequence") or ():
            for uid in _referenced(series):
                yield header.text(series, "SeriesInstanceUID"), uid


def _referenced(ds: Dataset) -> Iterator[str]:
    for one in ds.get("ReferencedSOPSequence") or ():
        uid = header.text(one, "ReferencedSOPInstanceUID")
        if uid:
            yield uid


def _code(ds: Dataset, keyword: str) -> str:
    """A coded entry's value where its scheme is DCM; empty otherwise."""
    for one in ds.get(keyword) or ():
        if header.text(one, "CodingSchemeDesignator", 16) == "DCM":
            return header.text(one, "CodeValue", 16)
    return ""
