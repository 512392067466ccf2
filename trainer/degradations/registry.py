"""All degradations by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainer.degradations.attenuation_mismatch import attenuation_mismatch
from trainer.degradations.beam_hardening import beam_hardening
from trainer.degradations.bias_field import bias_field
from trainer.degradations.capture import gaussian_noise, impulse_noise
from trainer.degradations.compression import jpeg, jpeg2000
from trainer.degradations.counts import count_reduction
from trainer.degradations.ct_motion import ct_motion
from trainer.degradations.exposure import quantum_noise, sparse_views
from trainer.degradations.ghosting import ghosting
from trainer.degradations.kspace_motion import kspace_motion
from trainer.degradations.receiver_noise import (
    noncentral_chi_noise,
    rician_noise,
    spatially_varying_noise,
)
from trainer.degradations.resolution import resolution_blur
from trainer.degradations.rings import ring_artefacts
from trainer.degradations.smoothing import edge_preserving_smoothing, over_smoothing
from trainer.degradations.spikes import spikes
from trainer.degradations.wrap import wrap
from trainer.projection import Float

Modality = Literal["CT", "PET", "MR", "any"]


@dataclass(frozen=True)
class Artefact:
    """One entry of the registry.

    apply: the degradation, a pure function of (image, severity 0…1, rng, geometry); physics: its
    docstring; geometry: the keywords it takes; needs: those of them it cannot do without.
    """

    name: str
    modality: Modality
    apply: Callable[..., Float]
    physics: str
    geometry: frozenset[str]
    needs: frozenset[str]

    @classmethod
    def of(cls, modality: Modality, apply: Callable[..., Float]) -> Artefact:
        keywords = [
            parameter
            for parameter in inspect.signature(apply).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        return cls(
            name=str(getattr(apply, "__name__", "")),
            modality=modality,
            apply=apply,
            physics=inspect.getdoc(apply) or "",
            geometry=frozenset(keyword.name for keyword in keywords),
            needs=frozenset(
                keyword.name for keyword in keywords if keyword.default is keyword.empty
            ),
        )


_ALL: tuple[tuple[Modality, tuple[Callable[..., Float], ...]], ...] = (
    (
        "CT",
        (
            quantum_noise,
            sparse_views,
            over_smoothing,
            edge_preserving_smoothing,
            ring_artefacts,
            beam_hardening,
            ct_motion,
        ),
    ),
    ("PET", (count_reduction, resolution_blur, attenuation_mismatch)),
    (
        "MR",
        (
            ghosting,
            kspace_motion,
            rician_noise,
            noncentral_chi_noise,
            spatially_varying_noise,
            wrap,
            spikes,
            bias_field,
        ),
    ),
    ("any", (jpeg, jpeg2000, gaussian_noise, impulse_noise)),
)

ARTEFACTS: dict[str, Artefact] = {
    artefact.name: artefact
    for modality, functions in _ALL
    for artefact in (Artefact.of(modality, function) for function in functions)
}
"""CT pictures are in HU, PET in SUV or any unit from 0 up, MR magnitudes from 0 up."""


def names(modality: Modality | None = None) -> tuple[str, ...]:
    """Names of the degradations that suit a modality, those of any modality last."""
    return tuple(
        artefact.name
        for artefact in ARTEFACTS.values()
        if modality is None or artefact.modality in (modality, "any")
    )


def degrade(
    name: str, image: Float, severity: float, rng: np.random.Generator, **geometry: Any
) -> Float:
    """A worse picture `[H, W]`, of the image's type; severity 0 gives it back bit for bit.

    Raises ValueError for a name that is not in the registry, for geometry that the degradation
    does not take or lacks, and for what it cannot degrade; the message says which.
    """
    artefact = ARTEFACTS.get(name)
    if artefact is None:
        raise ValueError(f"no degradation {name!r}; there are {', '.join(ARTEFACTS)}")
    if missing := artefact.needs - geometry.keys():
        raise ValueError(f"{name} needs {', '.join(sorted(missing))}")
    if unknown := geometry.keys() - artefact.geometry:
        takes = ", ".join(sorted(artefact.geometry)) or "nothing"
        raise ValueError(f"{name} does not take {', '.join(sorted(unknown))}; it takes {takes}")
    return artefact.apply(image, severity, rng, **geometry)
