"""Clean MR slices, made worse in k-space and drawn on the scale of their stack.

A stack is degraded as a whole, and the gate would find the scale in its degraded slices. Here one
slice stands for all of them: the stack's level is changed by the factor that the degradation
changes the slice's own level by, and put on the grid of levels. So severity 0 is drawn exactly as
the gate draws the clean stack.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.intensity import grid_level, slice_level
from models.render import Float, MrStack
from trainer import phantom_mr
from trainer.datasets.mr import MrSlice, read_mr_slices
from trainer.degradations import ARTEFACTS, degrade
from trainer.degradations.kspace import lines, to_kspace, to_magnitude
from trainer.recipe import Recipe, Source
from trainer.simulation.case import Case
from trainer.simulation.subject import OfCleanSlice

ACQUIRED = "acquired"

SMALLEST_MATRIX = 112
"""No appearance has fewer lines of k-space."""

PLACES = (0.8, 1.25)
"""Of a digital slice's own level, its stack's: bright and dark slices share one scale."""


@dataclass(frozen=True)
class Appearance:
    """How else the same slice might have come from a scanner: not better, not worse.

    quarters, mirrored: how it lies; zoom: the field of view, below 1 a smaller one; gamma, bend:
    contrast as s^gamma·(1 − bend·s), which turns bright tissue dark as bend nears 1; shading:
    severity of a bias field that every coil leaves; matrix: lines of k-space that are acquired, of
    those the slice has; interpolation: zero-filling of what is made of them; noise: σ over the
    level; scale: of the stack's level, as its other slices may move it; phase_axis, ghosts, coils,
    acceleration: of the degradations.
    """

    quarters: int = 0
    mirrored: bool = False
    zoom: float = 1.0
    gamma: float = 1.0
    bend: float = 0.0
    shading: float = 0.0
    matrix: float = 1.0
    interpolation: int = 1
    noise: float = 0.0
    scale: float = 1.0
    phase_axis: int | None = None
    ghosts: int = 4
    coils: int = 8
    acceleration: int = 2

    @classmethod
    def drawn(cls, rng: np.random.Generator, side: int) -> Appearance:
        """One at random, for a slice of `side` rows."""
        matrix, interpolation = 1.0, 1
        way = rng.random()
        if way < 0.2 and side // 2 >= SMALLEST_MATRIX:
            matrix, interpolation = 0.5, 2
        elif way < 0.35 and side <= 256:
            interpolation = 2
        elif way < 0.5 and side * 0.75 >= SMALLEST_MATRIX:
            matrix = 0.75
        return cls(
            quarters=int(rng.integers(4)),
            mirrored=bool(rng.random() < 0.5),
            zoom=float(rng.choice([0.625, 0.75, 0.875, 1.0, 1.0, 1.25])),
            gamma=float(np.exp(rng.uniform(-0.3, 0.45))),
            bend=float(rng.choice([0.0, rng.uniform(0, 0.85)])),
            shading=float(rng.uniform(0, 0.3)),
            matrix=matrix,
            interpolation=interpolation,
            noise=float(rng.choice([0.0, np.exp(rng.uniform(*np.log(phantom_mr.OWN_NOISE)))])),
            scale=float(np.exp(rng.normal(0, 0.1))),
            phase_axis=int(rng.integers(2)),
            ghosts=int(rng.choice([2, 3, 4, 4, 5, 6, 8])),
            coils=int(rng.choice([2, 4, 8, 16])),
            acceleration=int(rng.choice([2, 2, 3, 4])),
        )

    def acquired(self, signal: Float, level: float, rng: np.random.Generator) -> Float:
        """The slice `[H, W]` on the grid that its k-space is acquired on."""
        signal = np.rot90(signal, self.quarters)
        if self.mirrored:
            signal = signal[:, ::-1]
        if self.zoom != 1:
            signal = _cut(signal, self.zoom, rng)
        if self.gamma != 1 or self.bend:
            relative = np.clip(signal / np.float32(level), 0, 1.5)
            signal = level * relative**self.gamma * np.maximum(1 - self.bend * relative, 0)
        signal = np.ascontiguousarray(signal, np.float32)
        signal = degrade("bias_field", signal, self.shading, rng)
        if self.matrix != 1:
            signal = resampled(signal, *(_even(n * self.matrix) for n in signal.shape))
        if self.noise:
            bright = slice_level(signal).level
            signal = degrade("rician_noise", signal, self.noise / 0.15, rng, level=bright)
        return signal

    def reconstructed(self, signal: Float) -> Float:
        """What the scanner makes of the acquired grid."""
        if self.interpolation == 1:
            return signal
        return resampled(signal, *(n * self.interpolation for n in signal.shape))


NAMED: dict[str, Appearance] = {
    ACQUIRED: Appearance(),
    "level × 0.9": Appearance(scale=0.9),
    "level × 1.1": Appearance(scale=1.1),
    "half the matrix": Appearance(matrix=0.5),
    "matrix filled to twice": Appearance(interpolation=2),
    "field of view × 0.75": Appearance(zoom=0.75),
    "field of view × 1.25": Appearance(zoom=1.25),
    "darker contrast": Appearance(gamma=1.4),
    "brighter contrast": Appearance(gamma=0.75),
    "turned contrast": Appearance(bend=0.8),
}
"""One thing changed at a time, to measure what a score hangs on."""


@dataclass(frozen=True)
class MrSubject(OfCleanSlice):
    """A clean slice. A case's options: `appearance`, a named one or a number that seeds another."""

    clean: MrSlice

    def draw(self, case: Case, recipe: Recipe, rng: np.random.Generator) -> Float:
        signal, scale = self.degraded(case, recipe, rng)
        assert isinstance(recipe.render, MrStack)
        # the weights of the resampling sum to one but for rounding, and metrics refuse more
        return np.minimum(recipe.render.draw(signal, scale), 1.0)

    def degraded(self, case: Case, recipe: Recipe, rng: np.random.Generator) -> tuple[Float, float]:
        """The signal `[H, W]` as the scanner hands it over, and the level it is drawn at."""
        clean = self.clean
        looks = self.appearance(case.options.get("appearance", ACQUIRED), recipe)
        # the clean picture and the worse one share what is random in their appearance
        own = np.random.default_rng(self._seed(case.options.get("appearance", ""), recipe))
        acquired = looks.acquired(clean.signal, clean.level, own)
        before = slice_level(looks.reconstructed(acquired)).level
        level = clean.level * before / slice_level(clean.signal).level * looks.scale
        signal = acquired
        strongest = {one.name: one.strongest for one in recipe.degradations}
        for name, severity in case.parts:
            geometry = self._geometry(name, looks, level)
            signal = degrade(name, signal, severity * strongest[name], rng, **geometry)
        handed_over = looks.reconstructed(signal)
        after = slice_level(handed_over).level if case.parts else before
        return handed_over, grid_level(max(level * after / before, 1e-6))

    def appearance(self, named: str, recipe: Recipe) -> Appearance:
        if named in NAMED:
            return replace(NAMED[named], phase_axis=self.clean.phase_axis)
        rng = np.random.default_rng(self._seed(f"{named} looks", recipe))
        return Appearance.drawn(rng, min(self.clean.signal.shape))

    def _geometry(self, name: str, looks: Appearance, level: float) -> dict[str, Any]:
        """What a degradation is told of the scan, of that which it takes."""
        known: dict[str, Any] = {
            "spacing_mm": self.clean.spacing_mm / looks.matrix,
            "phase_axis": looks.phase_axis or 0,
            "ghosts": looks.ghosts,
            "coils": looks.coils,
            "acceleration": max(looks.acceleration, 3)
            if name == "spatially_varying_noise"
            else looks.acceleration,
            "level": level,
            "window": (0.0, 1.5 * level),
        }
        return {key: value for key, value in known.items() if key in ARTEFACTS[name].geometry}

    def _seed(self, text: str, recipe: Recipe) -> tuple[int, int]:
        return recipe.simulation.seed, zlib.crc32(f"{self.source}/{self.name}/{text}".encode())


def mr_subjects(source: Source, recipe: Recipe, root: Path | None) -> Iterator[MrSubject]:
    """The clean slices of a source, stack by stack in order of z, or digital ones."""
    if source.is_phantom:
        yield from _digital(source, recipe)
        return
    if root is None:
        raise ValueError(f"source {source.name} reads folders: give their root with --root")
    for clean in read_mr_slices([root / name for name in source.folders], source.name):
        yield MrSubject(clean)


def resampled(signal: Float, rows: int, columns: int) -> Float:
    """A magnitude picture `[H, W]` with its k-space cut or zero-filled to `[rows, columns]`."""
    kspace = to_kspace(signal)
    for axis, count in enumerate((rows, columns)):
        have = lines(kspace.shape[axis])
        wanted = np.zeros((count, kspace.shape[1 - axis]), complex)
        both = np.intersect1d(have, lines(count))
        wanted[both % count] = np.moveaxis(kspace, axis, 0)[both % len(have)]
        kspace = np.moveaxis(wanted, 0, axis)
    return to_magnitude(kspace) * np.float32(rows * columns / signal.size)


def _digital(source: Source, recipe: Recipe) -> Iterator[MrSubject]:
    for number in range(recipe.simulation.phantom_slices):
        rng = np.random.default_rng((recipe.simulation.seed, number))
        signal, spacing_mm = phantom_mr.mr_slice(rng)
        level = slice_level(signal).level * float(np.exp(rng.uniform(*np.log(PLACES))))
        axis = int(rng.integers(2))
        clean = MrSlice(
            signal, grid_level(level), spacing_mm, 0.0, axis, source.name, f"{number:04d}"
        )
        yield MrSubject(clean)


def _cut(signal: Float, zoom: float, rng: np.random.Generator) -> Float:
    """A field of view `zoom` times as large: cut out at random, or with nothing around it."""
    H, W = signal.shape
    rows, columns = _even(H * zoom), _even(W * zoom)
    if zoom < 1:
        top, left = (H - rows) // 2, (W - columns) // 2
        top = int(np.clip(top + rng.normal(0, 0.06 * H), 0, H - rows))
        left = int(np.clip(left + rng.normal(0, 0.06 * W), 0, W - columns))
        return signal[top : top + rows, left : left + columns]
    y, x = (rows - H) // 2, (columns - W) // 2
    around = cv2.copyMakeBorder(
        np.ascontiguousarray(signal), y, rows - H - y, x, columns - W - x, cv2.BORDER_CONSTANT
    )
    return np.asarray(around, np.float32)


def _even(count: float) -> int:
    return 2 * round(count / 2)
