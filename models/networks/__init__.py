"""The registry of networks: from the name in a recipe or a card to the network.

torch lives in this package and nowhere else in `models`. An architecture is imported when it is
asked for, so that one of them does not pull in the others. Each module offers `PRESETS`,
`ABLATIONS` and `build(preset, *, weights, ablations)`; what a built network answers to stands in
`models.networks.network`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.networks.network import Network

ARCHITECTURES = {
    "ms-iqa": "models.networks.ms_iqa",
    "md-iqa": "models.networks.md_iqa",
    "miqanet": "models.networks.miqanet",
    "tfkt": "models.networks.tfkt",
}


def build(
    architecture: str,
    preset: str,
    *,
    weights: Path | None = None,
    ablations: Iterable[str] = (),
) -> Network:
    """A network by name, its parameters drawn from torch's generator.

    weights: file or folder of the backbones' ImageNet weights (`models.networks.backbone`), or
    None to start from scratch. ablations: rows of the paper's ablation table, by the names in the
    module's `ABLATIONS`. Raises KeyError naming what there is for an unknown architecture, preset
    or ablation, and FileNotFoundError where `weights` lacks a backbone.
    """
    network: Network = module(architecture).build(
        preset, weights=weights, ablations=frozenset(ablations)
    )
    return network


def presets(architecture: str) -> tuple[str, ...]:
    """The names of an architecture's presets. Raises KeyError for an unknown architecture."""
    return tuple(module(architecture).PRESETS)


def module(architecture: str) -> ModuleType:
    """The module of an architecture. Raises KeyError naming those there are."""
    if architecture not in ARCHITECTURES:
        raise KeyError(
            f"no architecture {architecture!r}; there are {', '.join(sorted(ARCHITECTURES))}"
        )
    return import_module(ARCHITECTURES[architecture])
