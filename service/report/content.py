"""Content items of a Structured Report, one function a value type (PS3.3 C.17.3, C.18).

Written here rather than with highdicom, whose documents refuse character sets that real headers
declare and read the clock; docs/report.md says more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from service.report import codes

CONTAINS: Final = "CONTAINS"
HAS_CONCEPT_MOD: Final = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT: Final = "HAS OBS CONTEXT"
HAS_PROPERTIES: Final = "HAS PROPERTIES"
INFERRED_FROM: Final = "INFERRED FROM"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def put(dataset: Dataset, keyword: str, value: object) -> None:
    """Sets an attribute as it is given: what is valid was decided before, and a UID that the
    archive knows under an invalid value must be written as the archive knows it."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    dataset.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))


def code_item(code: Code) -> Dataset:
    """An item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    put(item, "CodeValue", code.value)
    put(item, "CodingSchemeDesignator", code.scheme_designator)
    put(item, "CodeMeaning", code.meaning)
    return item


def _item(
    value_type: str, name: Code | None, relationship: str | None, children: Iterable[Dataset] = ()
) -> Dataset:
    item = Dataset()
    if relationship:
        put(item, "RelationshipType", relationship)
    put(item, "ValueType", value_type)
    if name is not None:
        put(item, "ConceptNameCodeSequence", [code_item(name)])
    below = list(children)
    if below:
        put(item, "ContentSequence", below)
    return item


def container(
    name: Code,
    children: Iterable[Dataset],
    *,
    template: str = "",
    relationship: str | None = CONTAINS,
) -> Dataset:
    """A CONTAINER; `template` is its TID in PS3.16, a root has no `relationship`."""
    item = _item("CONTAINER", name, relationship, children)
    put(item, "ContinuityOfContent", "SEPARATE")
    if template:
        identification = Dataset()
        put(identification, "MappingResource", "DCMR")
        put(identification, "TemplateIdentifier", template)
        put(item, "ContentTemplateSequence", [identification])
    return item


def code(name: Code, value: Code, relationship: str = CONTAINS) -> Dataset:
    """A CODE."""
    item = _item("CODE", name, relationship)
    put(item, "ConceptCodeSequence", [code_item(value)])
    return item


def text(name: Code, value: str, relationship: str = CONTAINS) -> Dataset:
    """A TEXT, without control characters or lone surrogates; the value must not be blank."""
    encodable = value.encode("utf-8", errors="replace").decode("utf-8")
    item = _item("TEXT", name, relationship)
    put(item, "TextValue", _CONTROL.sub(" ", encodable).strip())
    return item


def uid_reference(name: Code, value: str, relationship: str = CONTAINS) -> Dataset:
    """A UIDREF."""
    item = _item("UIDREF", name, relationship)
    put(item, "UID", value)
    return item


def number(
    name: Code, value: float | None, unit: Code, children: Iterable[Dataset] = ()
) -> list[Dataset]:
    """A NUM in a list, or nothing where there is no finite value to report."""
    if value is None or not math.isfinite(value):
        return []
    item = _item("NUM", name, CONTAINS, children)
    measured = Dataset()
    put(measured, "MeasurementUnitsCodeSequence", [code_item(unit)])
    put(measured, "NumericValue", f"{value:.6g}")
    put(item, "MeasuredValueSequence", [measured])
    return [item]


def image(
    name: Code,
    sop_class_uid: str,
    sop_instance_uid: str,
    frame_number: int | None,
    relationship: str = INFERRED_FROM,
) -> Dataset:
    """An IMAGE; `frame_number` only for multi-frame objects (PS3.3 C.18.4)."""
    item = _item("IMAGE", name, relationship)
    put(item, "ReferencedSOPSequence", [reference(sop_class_uid, sop_instance_uid)])
    if frame_number is not None:
        put(item.ReferencedSOPSequence[0], "ReferencedFrameNumber", frame_number)
    return item


def reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """An item of a Referenced SOP Sequence (PS3.3 10.8)."""
    item = Dataset()
    put(item, "ReferencedSOPClassUID", sop_class_uid)
    put(item, "ReferencedSOPInstanceUID", sop_instance_uid)
    return item


def device_observer(device_uid: str, name: str, manufacturer: str, model: str) -> Sequence[Dataset]:
    """The gate as the observer (TID 1002, 1004)."""
    named = (
        (codes.DEVICE_OBSERVER_NAME, name),
        (codes.DEVICE_OBSERVER_MANUFACTURER, manufacturer),
        (codes.DEVICE_OBSERVER_MODEL_NAME, model),
    )
    return [
        code(codes.OBSERVER_TYPE, codes.DEVICE, HAS_OBS_CONTEXT),
        uid_reference(codes.DEVICE_OBSERVER_UID, device_uid, HAS_OBS_CONTEXT),
        *(text(concept, value, HAS_OBS_CONTEXT) for concept, value in named if value),
    ]
