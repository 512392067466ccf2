"""Backbones: timm's networks by name, started from weight files that lie on this machine.

Weights are never fetched here. A hospital trains offline: it puts `<timm name>.safetensors` (or
`.pth`, `.bin`) into a folder, and timm adapts what is inside to the channels asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm

SUFFIXES = (".safetensors", ".pth", ".bin")


def backbone(name: str, weights: Path | None, **options: Any) -> Any:
    """The timm model `name`, built with timm's own `options`.

    weights: where its ImageNet weights lie (see `weight_file`); None starts from scratch.
    """
    if weights is None:
        return timm.create_model(name, pretrained=False, **options)
    path = weight_file(name, weights)
    return timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **options
    )


def weight_file(name: str, weights: Path) -> Path:
    """The file of the backbone `name`: `weights` itself, or the one in that folder so named.

    Raises FileNotFoundError naming the file that is missing.
    """
    if weights.is_file() and weights.stem == name and weights.suffix in SUFFIXES:
        return weights
    for suffix in SUFFIXES:
        path = weights / f"{name}{suffix}"
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{weights}: holds no {name}.safetensors (nor .pth, .bin); save timm's weights of {name} "
        "there, or leave the weights out to start from scratch"
    )


def drop_unread(cnn: Any) -> None:
    """Drop the blocks of timm's EfficientNets beyond the last stage that is read, in place."""
    name, _, number = cnn.feature_info.module_name()[-1].partition(".")
    if name == "blocks":
        del cnn.blocks[int(number) + 1 :]
