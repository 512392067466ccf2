"""Which bundles serve: for each modality the first by name, or those that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.card import Bundle, CardError, load_bundles
from service.errors import ConfigError


def served_bundles(folder: Path, names: Sequence[str]) -> tuple[Bundle, ...]:
    """The bundles of a folder that serve, one a modality, in order of name.

    Raises ConfigError where there is none, for a name that is none of theirs, for two of one
    modality, and for a bundle that is damaged.
    """
    try:
        return chosen(load_bundles(folder), names, folder)
    except CardError as error:
        raise ConfigError(str(error)) from error


def chosen(bundles: Sequence[Bundle], names: Sequence[str], folder: Path) -> tuple[Bundle, ...]:
    """Of all bundles of a folder those that serve. Raises ConfigError."""
    if not bundles:
        raise ConfigError(f"score.bundles = {folder}: no bundle (no */card.toml) lies there")
    known = sorted(one.card.name for one in bundles)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"score.serve: no bundle {name!r} lies in {folder}; there is {', '.join(known)}"
            )
    served: dict[str, Bundle] = {}
    for bundle in sorted(bundles, key=lambda one: one.card.name):
        if names and bundle.card.name not in names:
            continue
        first = served.setdefault(bundle.card.modality, bundle)
        if names and first is not bundle:
            raise ConfigError(
                f"score.serve: {first.card.name} and {bundle.card.name} both score "
                f"{bundle.card.modality}; name one of them"
            )
    return tuple(sorted(served.values(), key=lambda one: one.card.name))
