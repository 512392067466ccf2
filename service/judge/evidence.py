"""What is judged, and what judging yields: plain frozen values, passed between rooms."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of one series; "could not assess" is never "pass"."""

    MEETS = "meets"
    DOES_NOT_MEET = "does-not-meet"
    UNUSABLE = "unusable"
    NOT_ASSESSED = "not-assessed"


@dataclass(frozen=True)
class SeriesFacts:
    """What the header says about one series; empty strings and None where it says nothing.

    Carries no patient identity but the age that policies need.
    """

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    series_number: int | None = None
    series_description: str = ""
    protocol_name: str = ""
    body_part: str = ""
    manufacturer: str = ""
    model: str = ""
    device_serial_number: str = ""
    station_name: str = ""
    kernel: str = ""
    slice_thickness_mm: float | None = None
    age_years: float | None = None
    frame_of_reference_uid: str = ""
    irradiation_event_uid: str = ""
    acquired_at: str = ""
    """Acquisition Date and Time as the header writes them, for grouping and display."""

    @property
    def scanner(self) -> str:
        """Manufacturer, model and serial number: the identity of a device, whoever forwards it."""
        parts = (self.manufacturer, self.model, self.device_serial_number)
        return " ".join(part for part in parts if part) or "unknown scanner"

    @property
    def acquisition(self) -> str:
        """Key that reconstructions of one acquisition share (Irradiation Event UID, else
        Frame of Reference and acquisition time, else the series itself)."""
        if self.irradiation_event_uid:
            return self.irradiation_event_uid
        if self.frame_of_reference_uid and self.acquired_at:
            return f"{self.frame_of_reference_uid}/{self.acquired_at}"
        return self.series_instance_uid


@dataclass(frozen=True)
class SliceScore:
    """One frame and what the network said of it.

    Either `score` is given or `excluded` says in words why it is not.
    `frame_number` counts from 1; `position_mm` is the distance along the slice normal.
    """

    sop_instance_uid: str
    frame_number: int
    instance_number: int | None
    position_mm: float | None
    stack: str
    score: float | None
    spread: float | None = None
    noise_hu: float | None = None
    snr: float | None = None
    excluded: str | None = None


@dataclass(frozen=True)
class Limits:
    """Limits on a stack's statistic: a score on the bundle's scale or, where `more_is_worse`,
    a share of slices, 0 to 1."""

    meets: float
    unusable: float | None
    more_is_worse: bool = False


@dataclass(frozen=True)
class StackResult:
    """One stack's statistic, by the rule that applies to it. `interval` is its 95 % interval where
    it can be had; `statistic` and `limits` are its rule's."""

    stack: str
    slices_scored: int
    value: float
    interval: tuple[float, float] | None
    verdict: Verdict
    rule: str = ""
    statistic: str = ""
    limits: Limits | None = None


@dataclass(frozen=True)
class BundleIdentity:
    """Which network scored: name, version, digest (hex SHA-256), score scale."""

    name: str
    version: str
    digest: str
    score_worst: float
    score_best: float


@dataclass(frozen=True)
class Assessment:
    """The judgement of one series.

    `score` is the statistic of the deciding (worst) stack, `statistic` its name in words,
    `reason` the sentence people read. `worst` are the worst-scored slices, worst first.
    """

    verdict: Verdict
    reason: str
    borderline: bool = False
    score: float | None = None
    interval: tuple[float, float] | None = None
    statistic: str = ""
    limits: Limits | None = None
    stacks: tuple[StackResult, ...] = ()
    worst: tuple[SliceScore, ...] = ()
    noise_hu: float | None = None
    """Median over scored slices of the noise in soft tissue (CT)."""
    snr: float | None = None
    """Median over the slices that have one: of the foreground (MR), of the liver (PET)."""
    slices_total: int = 0
    slices_scored: int = 0
    rule: str = ""
    mode: str = "shadow"
    hold: str = ""
    """Why its reports are kept back, in words; empty where they are sent."""
    commissioned: bool = False
    primary_rank: int = 0
    """Which reconstruction of an acquisition alarms: the one of lowest rank."""
    bundle: BundleIdentity | None = None
    policy_digest: str = ""
    warnings: tuple[str, ...] = field(default=())
    """Sentences that travel with the verdict, as "limits not commissioned at this site"."""
