"""Who made a report: the gate, the scanners, the networks (PS3.3 C.7.5.1, C.12.1, CID 7005)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from highdicom import ContributingEquipment
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from service.judge.evidence import BundleIdentity
from service.report import header
from service.report.identity import algorithm_device_uid
from service.report.subject import Gate, ReportedSeries

MANUFACTURER: Final = "iqgate"
MODEL: Final = "iqgate image quality gate"


def one_line(value: str, limit: int = 64) -> str:
    """A setting as SH or LO: one value, no control characters."""
    return "".join(char for char in value.replace("\\", "/") if char.isprintable())[:limit].strip()


def gate_equipment(gate: Gate) -> dict[str, Any]:
    """The gate as the equipment that made an object, named as highdicom's constructors ask."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL,
        "device_serial_number": gate.device_uid[:64],
        "software_versions": one_line(gate.software_version) or "unknown",
        "institution_name": one_line(gate.institution_name) or None,
    }


def observer(gate: Gate) -> ObservationContext:
    """The gate as the observer (PS3.16 TID 1001, 1002, 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        gate.device_uid,
        name=one_line(gate.station_name) or None,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL,
    )
    return ObservationContext(
        observer_device_context=ObserverContext(codes.DCM.Device, device),
    )


def contributing_equipment(series: Iterable[ReportedSeries], moment: datetime) -> list[Dataset]:
    """A scanner each, and a network each, that had a part in the report."""
    made: dict[tuple[str, ...], Dataset] = {}
    for one in series:
        facts, bundle = one.facts, one.assessment.bundle
        if facts.manufacturer or facts.model:
            key = ("scanner", facts.manufacturer, facts.model, facts.device_serial_number)
            made.setdefault(key, _scanner(one))
        if bundle is not None:
            made.setdefault(("bundle", bundle.digest), _network(bundle, moment))
    return list(made.values())


def _scanner(one: ReportedSeries) -> ContributingEquipment:
    facts = one.facts
    return ContributingEquipment(
        one_line(facts.manufacturer) or "unknown",
        codes.DCM.AcquisitionEquipment,
        manufacturer_model_name=one_line(facts.model) or None,
        device_serial_number=one_line(facts.device_serial_number) or None,
        station_name=one_line(facts.station_name, 16) or None,
        institution_name=header.text(one.header, "InstitutionName") or None,
        software_versions=header.texts(one.header, "SoftwareVersions")[:8] or None,
    )


def _network(bundle: BundleIdentity, moment: datetime) -> ContributingEquipment:
    """The network as equipment (IHE AIR): its Device UID changes whenever it is retrained."""
    item = ContributingEquipment(
        MANUFACTURER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=one_line(bundle.name) or "unknown",
        device_serial_number=one_line(bundle.digest) or "unknown",
        software_versions=one_line(bundle.version) or "unknown",
        contribution_datetime=f"{moment:%Y%m%d%H%M%S.%f%z}",
        contribution_description="Scored noise and artefact appearance of the images",
    )
    item.DeviceUID = algorithm_device_uid(bundle.digest)
    return item
