"""Which images are scored: a table of rules, each exclusion with its reason in words.

DERIVED in Image Type value 1 excludes nothing by itself: Dixon, trace diffusion, mixed
dual-energy and lossily copied images carry it, and people read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom import Dataset
from pydicom.uid import UID, EnhancedPETImageStorage, LegacyConvertedEnhancedPETImageStorage

from models.card import Bundle
from models.suv import attenuation_corrected
from service import header
from service.sop_classes import ASSESSABLE, class_name

SMALLEST_SIDE_PIXELS = 64

LOCALIZER = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "CT_SOM5 TOP", "SURVIEW", "SCANOGRAM"})
MIP = frozenset(
    {"MIP", "MINIP", "MNIP", "MAXIMUM", "MINIMUM", "MAX_IP", "MIN_IP", "PROJECTION IMAGE"}
)
MPR = frozenset({"MPR", "CPR", "MPVR", "REFORMATTED", "CURVED", "CURVED_MPR"})
RENDERING = frozenset({"VRT", "SSD", "VOLUME_RENDERED", "3D", "RENDERING"})
SCREEN = frozenset(
    {"SCREEN SAVE", "SCREENSAVE", "DOSE_INFO", "DOSE", "PROT", "CT_SOM5 PROT", "REPORT"}
)
SUBTRACTION = frozenset({"SUBTRACTION", "SUBTRACTED", "SUBTRACT", "SUB"})
ENERGY = frozenset({"VMI", "MONO", "MONOENERGETIC", "MONO_ENERGETIC", "MONOCHROMATIC", "MONOE"})
MATERIAL = frozenset(
    {
        "IODINE", "IODINE_MAP", "IODINE_NO_WATER", "VNC", "VIRTUAL_NON_CONTRAST", "VUE", "VNUE",
        "CALCIUM", "CALCIUM_SUPPRESSED", "URIC_ACID", "BONE_MARROW", "Z_EFF", "ZEFF",
        "EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "ELECTRON DENSITY", "RHO_Z",
        "MATERIAL_SPECIFIC", "MATERIAL_FRACTIONAL", "MATERIAL_REMOVED", "OVERLAY",
    }
)  # fmt: skip
MAP = frozenset(
    {
        "ADC", "APPARENT_DIFFUSION", "DIFFUSION_ADC", "FA", "FRACTIONAL_ANISOTROPY", "EADC",
        "CBF", "CBV", "MTT", "TTP", "TMAX", "RCBF", "RCBV", "PBP", "PARAMETRIC",
        "QUANTITY", "T1 MAP", "T1_MAP", "T2 MAP", "T2_MAP", "T2_STAR MAP", "R2_STAR", "B0 MAP",
        "FIELD_MAP", "STD_DEVIATION", "KTRANS",
    }
)  # fmt: skip
MOSAIC = frozenset({"MOSAIC"})
ENHANCED_PET = frozenset({EnhancedPETImageStorage, LegacyConvertedEnhancedPETImageStorage})
PHASE = frozenset({"P", "PHASE", "PHASE MAP", "PHASE_MAP", "VELOCITY MAP", "VELOCITY_MAP"})
PART = frozenset({"R", "REAL", "I", "IMAGINARY", "R_IR", "I_IR"})
LOCALIZER_WORDS = frozenset({"localizer", "localiser", "scout", "survey", "3plane"})
"""MR scanners leave it out of Image Type and say it in Series Description; "loc" counts at either
end of it, for in between it may be a location."""

GE_COMPONENT = (0x0043, 0x102F)
"""GE's private Image Type: 0 magnitude, 1 phase, 2 real, 3 imaginary."""

_DESCRIPTIONS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("described-mip", "a maximum or minimum intensity projection", frozenset({"mip", "minip"})),
    ("described-mpr", "a multiplanar reformat", frozenset({"mpr"})),
    (
        "described-energy",
        "a virtual monoenergetic image",
        frozenset({"vmi", "monoenergetic", "mono+"}),
    ),
    (
        "described-material",
        "a material map (iodine, virtual non-contrast, …)",
        frozenset({"iodine", "vnc"}),
    ),
    ("described-subtraction", "a subtraction", frozenset({"subtraction", "subtracted"})),
)
"""Vendors that leave Image Type bare say it in Series Description, as a word of its own."""


@dataclass(frozen=True)
class Candidate:
    """An image's header as the rules look at it: everything upper case but the description."""

    ds: Dataset
    sop_class_uid: UID
    modality: str
    image_type: tuple[str, ...]
    description_words: frozenset[str]
    names: tuple[str, ...]

    @classmethod
    def from_header(cls, ds: Dataset) -> Candidate:
        """From a frame's header (`frame.frame_header`)."""
        description = header.text(ds, "SeriesDescription").lower()
        for mark in "_-,;/()":
            description = description.replace(mark, " ")
        return cls(
            ds=ds,
            sop_class_uid=UID(header.text(ds, "SOPClassUID")),
            modality=header.text(ds, "Modality", 16).upper(),
            image_type=header.values(ds, "FrameType") or header.values(ds, "ImageType"),
            description_words=frozenset(description.split()),
            names=tuple(
                header.text(ds, keyword).lower()
                for keyword in ("PatientName", "StudyDescription", "SeriesDescription")
            ),
        )

    def says(self, terms: frozenset[str]) -> bool:
        """Whether Image Type names one of `terms`, in value 3 or later."""
        return any(value in terms for value in self.image_type[2:])

    def described_as_localizer(self) -> bool:
        words = header.text(self.ds, "SeriesDescription").lower().replace("_", " ").split()
        return bool(self.description_words & LOCALIZER_WORDS) or "loc" in (*words[:1], *words[-1:])

    def is_component(self, *names: str) -> bool:
        """Whether it is that part of a complex picture: Complex Image Component (PS3.3
        C.8.13.3.1.3), or GE's private attribute of the same meaning."""
        components = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
        stated = header.text(self.ds, "ComplexImageComponent", 16).upper()
        if not stated and self.modality == "MR":
            number = header.private_number(self.ds, GE_COMPONENT)
            stated = components[int(number)] if number in (1.0, 2.0, 3.0) else ""
        return stated in names

    def quality_control(self) -> bool:
        """Quality Control Subject (PS3.3 C.7.1.1), Quality Control Image (C.7.6.1)."""
        return any(
            header.text(self.ds, keyword).upper() == "YES"
            for keyword in ("QualityControlSubject", "QualityControlImage")
        )


@dataclass(frozen=True)
class Exclusion:
    """One row of the table."""

    name: str
    reason: str
    holds: Callable[[Candidate], bool]


def _terms(name: str, reason: str, terms: frozenset[str]) -> Exclusion:
    return Exclusion(name, reason, lambda one: one.says(terms))


def _described(name: str, reason: str, words: frozenset[str]) -> Exclusion:
    return Exclusion(name, reason, lambda one: bool(one.description_words & words))


EXCLUSIONS: tuple[Exclusion, ...] = (
    Exclusion(
        "class",
        "its SOP class is not one the gate assesses",
        lambda one: one.sop_class_uid not in ASSESSABLE,
    ),
    Exclusion(
        "modality",
        "Modality does not fit the SOP class",
        lambda one: one.modality != ASSESSABLE.get(one.sop_class_uid),
    ),
    Exclusion(
        "quality-control", "the header marks a quality control object", Candidate.quality_control
    ),
    Exclusion(
        "gate", "it was made by an image quality gate", lambda one: "IQGATE" in one.image_type
    ),
    _terms("localizer", "a localizer", LOCALIZER),
    _terms("mip", "a maximum or minimum intensity projection", MIP),
    Exclusion(
        "mpr",
        "a multiplanar reformat",
        # ORIGINAL\PRIMARY\MPR marks what a 3D acquisition itself was cut into
        lambda one: one.says(MPR) and one.image_type[:1] != ("ORIGINAL",),
    ),
    _terms("rendering", "a volume or surface rendering", RENDERING),
    _terms("screen", "a screen capture or dose page", SCREEN),
    _terms("subtraction", "a subtraction", SUBTRACTION),
    _terms("energy", "a virtual monoenergetic image", ENERGY),
    _terms("material", "a material map (iodine, virtual non-contrast, …)", MATERIAL),
    _terms("map", "a parametric map", MAP),
    Exclusion(
        # what phase shows is angle or flow: its grey is no signal, and its noise no noise
        "phase",
        "a phase image",
        lambda one: one.modality == "MR" and (one.says(PHASE) or one.is_component("PHASE")),
    ),
    Exclusion(
        # signed, or around an offset nobody states: air is grey and has twice the noise
        "part",
        "the real or imaginary part of a complex image",
        lambda one: (
            one.modality == "MR" and (one.says(PART) or one.is_component("REAL", "IMAGINARY"))
        ),
    ),
    Exclusion(
        "described-localizer",
        "a localizer",
        lambda one: one.modality == "MR" and one.described_as_localizer(),
    ),
    Exclusion(
        # PERFUSION is also the flavour of a perfusion study's source images (PS3.3 C.8.16.1.3)
        "perfusion-map",
        "a parametric map",
        lambda one: one.image_type[:1] == ("DERIVED",) and one.says(frozenset({"PERFUSION"})),
    ),
    _terms("mosaic", "a mosaic of slices in one image", MOSAIC),
    Exclusion(
        "colour",
        "not a grey-scale image",
        lambda one: (
            header.text(one.ds, "PhotometricInterpretation").upper()
            not in ("MONOCHROME1", "MONOCHROME2")
        ),
    ),
    Exclusion(
        "scale",
        "its values are not Hounsfield units (Rescale Intercept, Rescale Type)",
        lambda one: (
            one.modality == "CT"
            and (
                header.number(one.ds, "RescaleIntercept") is None
                or header.text(one.ds, "RescaleType").upper() not in ("", "HU", "US")
            )
        ),
    ),
    Exclusion(
        # it states uptake by real-world value maps, and none of what the rules below go by
        "enhanced-pet",
        "PET in enhanced multi-frame form, of which no SUV is computed here",
        lambda one: one.sop_class_uid in ENHANCED_PET,
    ),
    Exclusion(
        "attenuation",
        "PET without attenuation correction, or with none that Corrected Image, Attenuation "
        "Correction Method and Units agree on",
        lambda one: one.modality == "PT" and not attenuation_corrected(one.ds),
    ),
    Exclusion(
        "small",
        f"smaller than {SMALLEST_SIDE_PIXELS} pixels",
        lambda one: (
            min(header.integer(one.ds, "Rows") or 0, header.integer(one.ds, "Columns") or 0)
            < SMALLEST_SIDE_PIXELS
        ),
    ),
    *(_described(*row) for row in _DESCRIPTIONS),
)


def reason_to_exclude(candidate: Candidate, name_patterns: Sequence[str]) -> str | None:
    """Why this image is not scored, or None. `name_patterns` mark phantoms (shell style)."""
    for rule in EXCLUSIONS:
        if rule.holds(candidate):
            if rule.name == "class":
                return f"{class_name(candidate.sop_class_uid)} objects are not assessed"
            return rule.reason
    for name in candidate.names:
        if any(fnmatchcase(name, pattern) for pattern in name_patterns):
            return "a phantom, by a name pattern of the configuration"
    return None


def bundle_for(candidate: Candidate, bundles: Sequence[Bundle]) -> Bundle | None:
    """The bundle that scores this image; of those that serve there is one a modality."""
    return next((one for one in bundles if one.card.modality == candidate.modality), None)
