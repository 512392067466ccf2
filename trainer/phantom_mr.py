"""Digital MR slices: heads, trunks, limbs and shapes of no anatomy, in contrasts of no sequence.

A network that has seen few scanned patients must not take an anatomy, a contrast or a field of
view for quality. So no two of these are alike: outlines are closed curves of random harmonics,
tissues are painted in signals drawn anew for each slice, texture is smooth random fields. Signals
are relative, 0…1.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from trainer.degradations import degrade
from trainer.projection import Float

SIDES = (192, 256, 256, 320, 384)
FOV_MM = (140.0, 420.0)

OWN_NOISE = (0.003, 0.025)
"""σ of a slice's own Rician noise, as a fraction of its bright tissue."""

_FINE = 2
"""Shapes are painted on a grid so many times finer and averaged down, as a voxel averages."""

Mask = npt.NDArray[np.bool_]
Random = np.random.Generator


def mr_slice(rng: Random) -> tuple[Float, float]:
    """A slice `[N, N]` of signal 0…1, and its pixels' side in mm."""
    side = int(rng.choice(SIDES))
    paint = _KINDS[int(rng.integers(len(_KINDS)))]
    fine = paint(side * _FINE, rng)
    painted: Float = np.asarray(cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA))
    painted = np.maximum(painted, np.float32(0))
    painted = painted / np.float32(max(float(np.percentile(painted, 99.5)), 1e-6))
    noise = float(np.exp(rng.uniform(*np.log(OWN_NOISE))))
    signal = degrade("rician_noise", painted, noise / 0.15, rng, level=1.0)
    return signal, float(rng.uniform(*FOV_MM)) / side


def _head(n: int, rng: Random) -> Float:
    """Scalp, skull, cerebrospinal fluid, folded cortex over white matter, ventricles."""
    image = np.zeros((n, n), np.float32)
    scalp, skull, fluid, grey, white = _signals(rng, 5)
    y, x = rng.uniform(0.46, 0.54, 2) * n
    b, a = rng.uniform(0.32, 0.46) * n, rng.uniform(0.28, 0.42) * n
    head = _blob(n, rng, y, x, b, a, 0.03)
    depth = cv2.distanceTransform(head.astype(np.uint8), cv2.DIST_L2, 5)
    thick = rng.uniform(0.015, 0.04) * n
    image[head] = scalp
    image[depth > thick] = 0.15 * skull
    image[depth > 1.8 * thick] = fluid
    folds = _field(n, rng, n // int(rng.integers(18, 32)))
    brain = depth + folds * 0.02 * n > 3.0 * thick
    image[brain] = grey
    inner = depth + np.abs(folds) * 0.035 * n > rng.uniform(4.5, 5.5) * thick
    image[inner & brain] = white
    for shift in (-1, 1):
        across = x + shift * rng.uniform(0.04, 0.07) * n
        for signal, grown in ((grey, 1.7), (fluid, 1.0)):
            long, wide = rng.uniform(0.05, 0.12) * n * grown, rng.uniform(0.015, 0.03) * n * grown
            image[_blob(n, rng, y, across, long, wide, 0.1) & brain] = signal
    return _textured(image, head, rng)


def _trunk(n: int, rng: Random) -> Float:
    """Fat, muscle, organs, vessels, a spine; fat fills what lies between."""
    image = np.zeros((n, n), np.float32)
    fat, muscle, marrow, cord, between = _signals(rng, 5)
    y, x = rng.uniform(0.46, 0.54, 2) * n
    b, a = rng.uniform(0.28, 0.46) * n, rng.uniform(0.4, 0.55) * n
    body = _blob(n, rng, y, x, b, a, 0.04)
    image[body] = fat
    image[_blob(n, rng, y, x, 0.88 * b, 0.9 * a, 0.05) & body] = muscle
    cavity = _blob(n, rng, y, x, 0.75 * b, 0.78 * a, 0.06) & body
    image[cavity] = between
    for signal in _signals(rng, int(rng.integers(6, 14))):
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.7)
        oy, ox = y + away * b * np.sin(angle), x + away * a * np.cos(angle)
        size = rng.uniform(0.04, 0.3) * b
        organ = _blob(n, rng, oy, ox, size, size * rng.uniform(0.5, 1.8), 0.15) & cavity
        image[organ] = signal
        if rng.random() < 0.5:
            edge = cv2.erode(organ.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
            image[organ & edge] = 0.2 * signal
    _vessels(image, cavity, rng, int(rng.integers(5, 30)))
    image[_blob(n, rng, y + 0.55 * b, x, 0.14 * b, 0.17 * b, 0.05)] = marrow
    image[_blob(n, rng, y + 0.74 * b, x, 0.06 * b, 0.08 * b, 0.05)] = cord
    return _textured(image, body, rng)


def _limbs(n: int, rng: Random) -> Float:
    """One limb or two: fat, muscles parted by septa, bones with dark cortex, tendons."""
    image = np.zeros((n, n), np.float32)
    inside = np.zeros((n, n), bool)
    fat, muscle, marrow, septum = _signals(rng, 4)
    count = int(rng.integers(1, 3))
    for limb in range(count):
        x = n * ((limb + 1) / (count + 1) + rng.uniform(-0.02, 0.02))
        y = n * rng.uniform(0.45, 0.55)
        b, a = rng.uniform(0.25, 0.48) * n, rng.uniform(0.3, 0.42) * n / count**0.7
        skin = _blob(n, rng, y, x, b, a, 0.05)
        image[skin] = fat
        flesh = _blob(n, rng, y, x, 0.86 * b, 0.86 * a, 0.06) & skin
        image[flesh] = muscle
        image[flesh & (np.abs(_field(n, rng, n // 8)) < 0.06)] = septum
        for _ in range(int(rng.integers(1, 5))):
            by, bx = y + rng.uniform(-0.5, 0.5) * b, x + rng.uniform(-0.5, 0.5) * a
            size = rng.uniform(0.1, 0.4) * a
            bone = _blob(n, rng, by, bx, size * rng.uniform(0.8, 2), size, 0.1) & flesh
            depth = cv2.distanceTransform(bone.astype(np.uint8), cv2.DIST_L2, 5)
            image[bone] = 0.05
            image[depth > rng.uniform(0.004, 0.012) * n] = marrow
        _vessels(image, flesh, rng, int(rng.integers(3, 15)))
        inside |= skin
    return _textured(image, inside, rng)


def _shapes(n: int, rng: Random) -> Float:
    """Regions of a random field within an outline that may leave the picture."""
    reach = rng.uniform(0.3, 0.8) * n
    body = _blob(n, rng, n / 2, n / 2, reach, reach * rng.uniform(0.6, 1.4), 0.12)
    scales = [n // int(rng.integers(3, 24)) for _ in range(int(rng.integers(3, 7)))]
    of_tissue = np.argmax(np.stack([_field(n, rng, scale) for scale in scales]), axis=0)
    signals = np.array(_signals(rng, len(scales)), np.float32)
    image = np.where(body, signals[of_tissue], np.float32(0)).astype(np.float32)
    _vessels(image, body, rng, int(rng.integers(0, 40)))
    return _textured(image, body, rng)


_KINDS: tuple[Callable[[int, Random], Float], ...] = (_head, _trunk, _trunk, _limbs, _shapes)


def _signals(rng: Random, count: int) -> list[float]:
    """Signals of tissues: dark ones as likely as bright ones."""
    return [float(value) for value in rng.uniform(0.08, 1.0, count) ** rng.uniform(0.7, 1.5)]


def _blob(n: int, rng: Random, y: float, x: float, b: float, a: float, rough: float) -> Mask:
    """A closed curve around (y, x) of half axes b (down) and a (across), uneven by `rough`."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = np.ones_like(angle)
    for order in range(2, 9):
        size, start = rng.normal(0, rough / order**0.7), rng.uniform(0, 2 * np.pi)
        radius += size * np.sin(order * angle + start)
    tilt = rng.uniform(-0.3, 0.3)
    u, v = a * radius * np.cos(angle), b * radius * np.sin(angle)
    points = np.stack(
        [x + u * np.cos(tilt) - v * np.sin(tilt), y + u * np.sin(tilt) + v * np.cos(tilt)], axis=1
    )
    canvas = np.zeros((n, n), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], [1])
    return canvas > 0


def _vessels(image: Float, inside: Mask, rng: Random, count: int) -> None:
    """Bright and dark vessels, tendons and ducts: crooked lines and dots."""
    n = len(image)
    rows, columns = np.nonzero(inside)
    if not len(rows):
        return
    canvas = np.full_like(image, -1)
    for signal in rng.choice([0.05, 1.2, 0.7], count):
        start = int(rng.integers(len(rows)))
        steps = rng.normal(0, 0.03 * n, (int(rng.integers(1, 6)), 2)).cumsum(axis=0)
        points = np.array([columns[start], rows[start]]) + np.vstack([np.zeros((1, 2)), steps])
        width = max(1, round(float(rng.uniform(0.002, 0.012)) * n))
        line = np.rint(points).astype(np.int32)
        cv2.polylines(canvas, [line], False, [float(signal)], width)
    drawn = inside & (canvas >= 0)
    image[drawn] = canvas[drawn]


def _textured(image: Float, inside: Mask, rng: Random) -> Float:
    """Unevenness of tissue, coarse and fine, and the coil's slow shading."""
    n = len(image)
    uneven = rng.uniform(0.01, 0.06) * _field(n, rng, n // 60)
    uneven = uneven + rng.uniform(0.01, 0.08) * _field(n, rng, n // 14)
    image = np.where(inside, image * (1 + uneven), image).astype(np.float32)
    shaded = degrade("bias_field", np.maximum(image, 0), float(rng.uniform(0, 0.3)), rng)
    blur = float(rng.uniform(0.5, 1.1)) * _FINE
    return np.asarray(cv2.GaussianBlur(shaded, (0, 0), blur), np.float32)


def _field(n: int, rng: Random, blur: int) -> Float:
    """A smooth random field `[n, n]`, standard deviation one, details of `blur` pixels."""
    coarse = rng.standard_normal((n // max(blur, 1) + 4,) * 2).astype(np.float32)
    field = cv2.resize(coarse, (n, n), interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / field.std(), np.float32)
