"""Worse pictures of a given one, each by the physics that spoils it.

Every degradation is a pure function of (image `[H, W]`, severity 0…1, rng) and of the scan's
geometry as keywords. Severity 0 returns the image bit for bit; the mean squared difference rises
with severity; the same generator gives the same picture; shape and type are kept (`contract`).
`degrade(name, …)` finds them by name (`registry`). docs/degradations.md has the table.

CT works in HU, PET in SUV or any unit from 0 up, MR on magnitudes from 0 up. What comes of rays is
computed on rays, what comes of k-space in k-space, and where a slice could not survive the way
there and back only the difference makes it (`exposure` says why).
"""

from trainer.degradations.exposure import (
    ELECTRONIC_COUNTS,
    LOWEST_DOSE_FRACTION,
    LOWEST_VIEWS,
    SPARSE_VIEWS,
    Degradation,
    Scan,
    at_severity,
    incident_photons_for,
    soft_tissue,
)
from trainer.degradations.registry import ARTEFACTS, Artefact, Modality, degrade, names
from trainer.degradations.sinogram import FULL_VIEWS

__all__ = [
    "ARTEFACTS",
    "ELECTRONIC_COUNTS",
    "FULL_VIEWS",
    "LOWEST_DOSE_FRACTION",
    "LOWEST_VIEWS",
    "SPARSE_VIEWS",
    "Artefact",
    "Degradation",
    "Modality",
    "Scan",
    "at_severity",
    "degrade",
    "incident_photons_for",
    "names",
    "soft_tissue",
]
