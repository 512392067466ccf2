"""A Structured Report of ours as plain text, for terminals and the status page.

Reads the content tree alone: no patient identity appears.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

_WIDTH: Final = 100
_LEFT_OUT: Final = {
    concept.value
    for concept in (
        codes.DCM.LanguageOfContentItemAndDescendants,
        codes.DCM.ObserverType,
        codes.DCM.DeviceObserverUID,
        codes.DCM.TrackingUniqueIdentifier,
        codes.DCM.Finding,
        codes.DCM.QualityControlStandard,
        codes.DCM.SeriesInstanceUID,
    )
}
"""Concepts that say nothing to a reader, or the same in every report."""


def render_text(sr: Dataset) -> str:
    """The report, one line an item, indented by depth, ending with a newline.

    Works on any SR with the value types the gate writes; others are named without their value.
    """
    title = _concept_name(sr) or "Structured Report"
    description = str(sr.get("SeriesDescription", ""))
    lines = [title, "=" * len(title)]
    if description:
        lines.append(description)
    for item in sr.get("ContentSequence", []):
        lines += _lines(item, 0)
    return "\n".join(lines) + "\n"


def _lines(item: Dataset, depth: int) -> Iterator[str]:
    if _concept_value(item) in _LEFT_OUT:
        return
    children = item.get("ContentSequence", [])
    if item.get("ValueType") == "CONTAINER":
        yield ""
        yield "  " * depth + _heading(item)
    else:
        yield from _paragraph(f"{_concept_name(item)}: {_value(item)}", depth)
    for child in children:
        if _concept_value(child) != codes.DCM.TrackingIdentifier.value:
            yield from _lines(child, depth + 1)


def _paragraph(line: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield from wrap(line, _WIDTH, initial_indent=indent, subsequent_indent=indent + "    ")


def _heading(item: Dataset) -> str:
    """A group is called by what it is about."""
    for child in item.get("ContentSequence", []):
        if _concept_value(child) == codes.DCM.TrackingIdentifier.value:
            return str(child.get("TextValue", ""))
    return _concept_name(item)


def _value(item: Dataset) -> str:
    kind = item.get("ValueType")
    if kind == "TEXT":
        return str(item.get("TextValue", ""))
    if kind == "UIDREF":
        return str(item.get("UID", ""))
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        return _number(item)
    if kind == "IMAGE":
        return _image(item)
    return f"({kind})"


def _number(item: Dataset) -> str:
    measured = item.get("MeasuredValueSequence", [])
    if not measured:
        return "no value"
    unit = measured[0].MeasurementUnitsCodeSequence[0]
    value = f"{float(measured[0].NumericValue):.4g}"
    if unit.CodeValue[0] in "{1":  # no dimension: the name says already what is counted
        return value
    return (
        f"{value} {'HU' if unit.CodeValue == codes.UCUM.HounsfieldUnit.value else unit.CodeMeaning}"
    )


def _image(item: Dataset) -> str:
    reference = item.ReferencedSOPSequence[0]
    frame = reference.get("ReferencedFrameNumber")
    uid = str(reference.ReferencedSOPInstanceUID)
    return f"image {uid}" if frame is None else f"image {uid}, frame {frame}"


def _concept_name(item: Dataset) -> str:
    return _meaning(item, "ConceptNameCodeSequence")


def _meaning(item: Dataset, keyword: str) -> str:
    held = item.get(keyword, [])
    return str(held[0].get("CodeMeaning", "")) if held else ""


def _concept_value(item: Dataset) -> str:
    held = item.get("ConceptNameCodeSequence", [])
    return str(held[0].get("CodeValue", "")) if held else ""
