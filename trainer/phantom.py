"""A digital chest: torso, lungs, heart, great vessels, spine, ribs, liver, nodules, table.

Analytic ellipses painted slice by slice, so every slice is drawn at any z and no two chests are
alike. Coordinates in mm from the isocentre: x to the patient's left, y to the back, z to the
head; z runs from 0 (upper abdomen) to HEIGHT_MM (apex).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.kernel import Reading
from trainer.datasets import CleanSlice
from trainer.degradations import Scan, soft_tissue
from trainer.projection import Float, Kernel

HEIGHT_MM = 240.0
SIDE = 512
SPACING_MM = 0.78

AIR, LUNG, FAT, MUSCLE, BLOOD, LIVER = -1000.0, -860.0, -100.0, 55.0, 42.0, 60.0
MARROW, CORTEX, TABLE = 220.0, 750.0, 150.0

KERNELS: tuple[Kernel, ...] = ("soft", "standard", "sharp")

TRAINING_PHOTONS = 4e5
"""The exposure that a training slice is scanned at before its noise is brought to what is drawn."""

TRAINING_NOISE_HU = {"soft": (6.0, 20.0), "standard": (8.0, 30.0), "sharp": (18.0, 70.0)}
"""Own noise of training slices in soft tissue: what diagnostic series show, by kernel."""

READINGS: dict[Kernel, tuple[Reading, ...]] = {
    "soft": ("soft",),
    "standard": ("soft",),
    "sharp": ("lung", "bone"),
}
SHARPEST_EDGE = 2.5
"""How much of what a Gaussian of one pixel takes away a sharp kernel adds, at the most."""


@dataclass(frozen=True)
class Chest:
    """One chest: `size` scales it, the seeds fix its texture and vessels."""

    size: float
    depth: float
    heart: float
    dome_mm: float
    soft_hu: float
    table_mm: float
    seed: int

    @classmethod
    def ordinary(cls, seed: int = 1) -> Chest:
        return cls(1.0, 1.0, 1.0, 70.0, 0.0, 122.0, seed)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Chest:
        """One of any size, a child of four to a heavy adult."""
        depth = float(rng.uniform(0.85, 1.2))
        return cls(
            size=float(rng.uniform(0.55, 1.15)),
            depth=depth,
            heart=float(rng.uniform(0.85, 1.2)),
            dome_mm=float(rng.uniform(50, 95)),
            soft_hu=float(rng.uniform(-10, 15)),
            table_mm=float(rng.uniform(118, 135)) * max(depth, 1.0),
            seed=int(rng.integers(2**31)),
        )

    def slice(self, z_mm: float) -> Float:
        """The slice `[SIDE, SIDE]` in HU at a height, without noise."""
        image = np.full((SIDE, SIDE), AIR, np.float32)
        up = z_mm / HEIGHT_MM
        rng = np.random.default_rng((self.seed, round(z_mm * 10)))
        self._torso(image, up, rng)
        self._lungs(image, z_mm, rng)
        self._mediastinum(image, up)
        self._abdomen(image, z_mm, rng)
        self._bones(image, z_mm)
        self._table(image)
        # The focal spot and the detector blur everything a little.
        return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8), np.float32)

    def _torso(self, image: Float, up: float, rng: np.random.Generator) -> None:
        a, b = self._half_axes(up)
        _paint(image, 0, 0, a, b, FAT)
        _paint(image, 0, 2, a - 14, b - 13, MUSCLE + self.soft_hu)
        # Strands of fat between muscles, and the unevenness of any tissue.
        field = _field(rng, 14)
        inside = image > 0
        image[inside & (field > 1.1)] = FAT + 30
        body = image > -500
        image[body] += (4 * _field(rng, 5) + 5 * _field(rng, 20))[body]

    def _lungs(self, image: Float, z_mm: float, rng: np.random.Generator) -> None:
        a, b = self._half_axes(z_mm / HEIGHT_MM)
        narrow = float(np.clip((HEIGHT_MM + 12 - z_mm) / 70, 0.1, 1)) ** 0.5
        for side in (-1, 1):
            width, height = 0.37 * a * narrow, 0.72 * b * narrow
            x = side * 0.48 * a
            _paint(image, x, 0, width, height, LUNG)
            for _ in range(70):
                r, angle = np.sqrt(rng.uniform(0, 0.8)), rng.uniform(0, 2 * np.pi)
                vx, vy = x + r * width * np.cos(angle), r * height * np.sin(angle)
                central = float(np.exp(-np.hypot(vx, vy - 5) / (0.45 * a)))
                radius = rng.uniform(0.6, 1.4) + 3.5 * central * rng.uniform(0.3, 1)
                _paint(image, vx, vy, radius, radius * rng.uniform(1, 2.5), 20, rng.uniform(0, 3))
        for x, y, z, radius in ((-70, -20, 150, 9), (62, 30, 110, 6), (80, -30, 190, 7)):
            reach = radius**2 - (z_mm - z) ** 2
            if reach > 0:
                _paint(image, x * self.size, y, reach**0.5, reach**0.5, 35)

    def _mediastinum(self, image: Float, up: float) -> None:
        a, b = self._half_axes(up)
        soft = BLOOD + self.soft_hu
        _paint(image, 0, 0, 0.16 * a, 0.62 * b, FAT + 25)
        if up < 0.66:
            grown = self.heart * float(np.sin(np.pi * np.clip((up + 0.12) / 0.8, 0, 1)))
            _paint(image, 22 * self.size, -18, 58 * grown, 46 * grown, soft, 0.5)
            _paint(image, 30 * self.size, -14, 24 * grown, 17 * grown, soft + 8, 0.5)
        else:
            _paint(image, 8, -22, 26, 13, soft, 0.4)
            for x, y, radius in ((-16, -26, 9), (14, -12, 6), (-6, -18, 6)):
                _paint(image, x, y, radius, radius, soft)
        _paint(image, 18, 0.33 * b, 12, 12, soft + 4)
        if up > 0.5:
            _paint(image, 0, 8, 8.5, 8, AIR)
        elif up > 0.38:
            for side in (-1, 1):
                _paint(image, side * 22, 8, 7, 5.5, AIR, side * 0.6)
        _paint(image, 8, 24, 7, 5, MUSCLE - 15)

    def _abdomen(self, image: Float, z_mm: float, rng: np.random.Generator) -> None:
        a, b = self._half_axes(z_mm / HEIGHT_MM)
        below = self.dome_mm - z_mm
        if below <= 0:
            return
        grown = min(1.0, below / 45) ** 0.5
        filled = min(1.0, below / 70) ** 0.5
        _paint(image, 0, -4, 0.85 * a * filled, 0.78 * b * filled, FAT + 20)
        liver = np.full_like(image, AIR)
        _paint(liver, -0.36 * a, -2, 0.5 * a * grown, 0.76 * b * grown, LIVER + self.soft_hu)
        textured = liver > 0
        image[textured] = (liver + 3 * _field(rng, 4) + 5 * _field(rng, 16))[textured]
        for x, y in rng.uniform(-0.3, 0.3, (8, 2)):
            _paint(image, a * (x - 0.36) * grown, b * 1.4 * y * grown, 3.5, 2, LIVER - 15, 3 * x)
        _paint(image, 0.6 * a, 0.3 * b, 0.25 * a * grown, 0.4 * b * grown, 52 + self.soft_hu, -0.3)
        _paint(image, 0.33 * a, -0.32 * b, 0.34 * a * grown, 0.3 * b * grown, 25.0, 0.2)
        _paint(image, 0.36 * a, -0.45 * b, 0.2 * a * grown, 0.1 * b * grown, -950)

    def _bones(self, image: Float, z_mm: float) -> None:
        a, b = self._half_axes(z_mm / HEIGHT_MM)
        back = 0.6 * b
        disc = (z_mm % 26) < 6
        _paint(image, 0, back, 18, 14.5, 90 if disc else CORTEX - 200)
        _paint(image, 0, back, 16.5, 13, 80 if disc else MARROW)
        _paint(image, 0, back + 24, 4, 11, CORTEX - 250)
        for side in (-1, 1):
            _paint(image, side * 20, back + 15, 15, 4, CORTEX - 250, side * 0.35)
        _paint(image, 0, back + 17, 9, 7.5, 35)
        if z_mm > 55:
            _bone(image, 0, -0.86 * b, 17, 5.5, 0)
        for number in range(11):
            for side in (-1, 1):
                # A rib slopes down from spine to front: its cut moves forward slice by slice.
                turn = ((z_mm / 24 + number) * 0.8) % 6.6 - 3.3
                angle = np.pi / 2 - side * (0.45 + 0.38 * (turn + 3.3))
                x, y = (a - 21) * np.cos(angle), (b - 19) * np.sin(angle)
                _bone(image, x, y, 9, 3.6, float(np.arctan2(y / b**2, x / a**2)) + np.pi / 2)
        if z_mm > 130:
            for side in (-1, 1):
                _bone(image, side * 0.66 * a, 0.7 * b, 34, 4, side * -0.6)
        if z_mm > 215:
            for side in (-1, 1):
                _bone(image, side * 0.45 * a, -0.6 * b, 38, 6, side * 0.35)

    def _table(self, image: Float) -> None:
        across = (np.arange(SIDE) - (SIDE - 1) / 2) * SPACING_MM
        down = across[:, None]
        top = self.table_mm - (across[None] / 190) ** 2 * 28
        wide = np.abs(across[None]) < 190
        free = image < -900
        image[free & wide & (np.abs(down - top - 2) < 1.6)] = TABLE
        image[free & wide & (np.abs(down - top - 26) < 1.6)] = TABLE

    def _half_axes(self, up: float) -> tuple[float, float]:
        """Half width and half depth of the torso in mm; shoulders widen it towards the apex."""
        shoulders = 1 + 0.07 * np.clip((up - 0.75) * 4, 0, 1)
        return 168 * self.size * float(shoulders), 112 * self.depth * self.size * (1 - 0.1 * up)


def training_slices(source: str, count: int, seed: int) -> Iterator[CleanSlice]:
    """Slices of `count` different chests at random heights, of as many scanners.

    Each has a kernel, noise and grain of its own: exposure is adapted to size on a scanner, so
    noise is drawn and the photons follow from it.
    """
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        z_mm = float(rng.uniform(0, HEIGHT_MM))
        kernel = KERNELS[number % len(KERNELS)]
        reading = READINGS[kernel][number // len(KERNELS) % len(READINGS[kernel])]
        hu = Chest.random(rng).slice(z_mm)
        tissue = soft_tissue(hu)
        noise = Scan.of(hu, SPACING_MM, TRAINING_PHOTONS).acquired(rng, kernel) - hu
        wanted_hu = float(np.exp(rng.uniform(*np.log(TRAINING_NOISE_HU[kernel]))))
        photons = TRAINING_PHOTONS * float(noise[tissue].var()) / wanted_hu**2
        # Iterative reconstruction and thicker slices leave a coarser grain.
        noise = _blurred(noise, float(rng.uniform(0, 0.9)))
        if kernel == "sharp":
            amount = float(rng.uniform(0, SHARPEST_EDGE))
            hu = hu + np.float32(amount) * (hu - _blurred(hu, 1.0))
            noise = noise + np.float32(amount) * (noise - _blurred(noise, 1.0))
        noise *= np.float32(wanted_hu / float(noise[tissue].std()))
        scanned = np.asarray(hu + noise, np.float32)
        yield CleanSlice(scanned, SPACING_MM, z_mm, source, f"{number:04d}", photons, reading)


def _blurred(image: Float, sigma_px: float) -> Float:
    if sigma_px < 0.2:  # OpenCV has no narrower kernel than one pixel
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


def _paint(
    image: Float, x: float, y: float, a: float, b: float, hu: float, angle: float = 0.0
) -> None:
    """Paint an ellipse (centre, half axes in mm, angle in radians) with soft one-pixel edges."""
    if min(a, b) <= 0:
        return
    reach = max(a, b) / SPACING_MM + 2
    column, row = x / SPACING_MM + (SIDE - 1) / 2, y / SPACING_MM + (SIDE - 1) / 2
    left, right = max(0, int(column - reach)), min(SIDE, int(column + reach) + 2)
    top, bottom = max(0, int(row - reach)), min(SIDE, int(row + reach) + 2)
    if left >= right or top >= bottom:
        return
    u = (np.arange(left, right, dtype=np.float32) - np.float32(column))[None] * SPACING_MM
    v = (np.arange(top, bottom, dtype=np.float32) - np.float32(row))[:, None] * SPACING_MM
    along = (u * np.cos(angle) + v * np.sin(angle)) / a
    across = (v * np.cos(angle) - u * np.sin(angle)) / b
    # (radius − 1) over its gradient is the distance to the edge, to first order.
    radius = np.sqrt(along**2 + across**2) + 1e-6
    gradient = np.sqrt((along / a) ** 2 + (across / b) ** 2) / radius + 1e-6
    cover = np.clip(0.5 + (1 - radius) / gradient / SPACING_MM, 0, 1)
    region = image[top:bottom, left:right]
    region += (cover * (hu - region)).astype(np.float32)


def _bone(image: Float, x: float, y: float, a: float, b: float, angle: float) -> None:
    _paint(image, x, y, a, b, CORTEX, angle)
    _paint(image, x, y, a - 1.7, b - 1.7, MARROW, angle)


def _field(rng: np.random.Generator, blur: int) -> npt.NDArray[np.float32]:
    """A smooth random field `[SIDE, SIDE]`, standard deviation one, details of `blur` pixels."""
    coarse = rng.standard_normal((SIDE // blur + 4,) * 2).astype(np.float32)
    field = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / field.std(), np.float32)
