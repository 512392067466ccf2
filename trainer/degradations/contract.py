"""What every degradation promises, kept in one place: a decorator around each of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import numpy as np

from trainer.projection import Float

Geometry = ParamSpec("Geometry")

Degrade = Callable[Concatenate[Float, float, np.random.Generator, Geometry], Float]
"""A function of (image `[H, W]`, severity 0…1, rng, keywords of the scan's geometry)."""


def degradation(apply: Degrade[Geometry]) -> Degrade[Geometry]:
    """Hold a degradation to its contract.

    The image is `[H, W]` of any floating type and never written to; the result has its shape and
    type. Severity 0 returns a copy, bit for bit, before any random number is drawn. Between, the
    function sees float32.

    The decorated function raises ValueError where the image is not a finite `[H, W]` picture of
    floats or the severity is outside 0…1.
    """

    @functools.wraps(apply)
    def checked(
        image: Float,
        severity: float,
        rng: np.random.Generator,
        /,
        *positional: Geometry.args,
        **geometry: Geometry.kwargs,
    ) -> Float:
        if image.ndim != 2 or not np.issubdtype(image.dtype, np.floating):
            raise ValueError(
                f"{apply.__name__} takes a picture [H, W] of floats in physical units, "
                f"not {list(image.shape)} of {image.dtype}"
            )
        if not 0 <= severity <= 1:
            raise ValueError(f"{apply.__name__}: severity {severity} is not within 0…1")
        if not np.isfinite(image).all():
            raise ValueError(f"{apply.__name__}: the picture holds values that are not finite")
        if severity == 0:
            return image.copy()
        worse = apply(image.astype(np.float32, copy=True), severity, rng, *positional, **geometry)
        return np.asarray(worse, image.dtype)

    return checked


def refuse_negative(image: Float, name: str) -> None:
    """Raises ValueError where a picture that counts or measures magnitude is below zero."""
    lowest = float(image.min())
    if lowest < 0:
        raise ValueError(f"{name} takes values from 0 up, the lowest here is {lowest:g}")


def reference_level(image: Float) -> float:
    """The bright tissue of a magnitude picture: its 99th percentile; 1 where all is dark."""
    return float(np.percentile(image, 99)) or 1.0
