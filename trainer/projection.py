"""Parallel-beam projection: images to sinograms and back (filtered backprojection).

Geometry: a square image `[N, N]` with its rotation centre in the middle, V views over 180°, a
detector of N bins as wide as a pixel. Both directions resample with OpenCV's bilinear
`warpAffine`, which makes a view cost under a millisecond on one core.

Source: A. C. Kak, M. Slaney, Principles of Computerized Tomographic Imaging, chapter 3
(projection: section 3.1; ramp filter and its sampling: equation 3.61).
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Kernel = Literal["soft", "standard", "sharp"]

WATER_PER_MM = 0.0195
"""Attenuation of water at about 68 keV, the mean energy of a 120 kV chest beam, in 1/mm."""

HANN_CUTOFF = {"soft": 0.7, "standard": 1.0, "sharp": 2.0}
"""Where the Hann window of each kernel reaches zero, as a multiple of the Nyquist frequency."""


def attenuation_per_mm(hu: Float) -> Float:
    """Linear attenuation in 1/mm of an image in HU; air and what lies below it is 0."""
    per_mm = WATER_PER_MM * (1 + hu.astype(np.float32) / 1000)
    return np.asarray(np.maximum(per_mm, 0), np.float32)


def project(image: Float, views: int, spacing_mm: float) -> Float:
    """The sinogram `[V, N]` of an image `[N, N]` in 1/mm: line integrals, without unit.

    Raises ValueError where the image is not square.
    """
    n = _side(image)
    middle = (n - 1) / 2
    sinogram = np.empty((views, n), np.float32)
    turned = np.empty_like(image)
    for view, (cosine, sine) in enumerate(_directions(views)):
        # Row s, column t of the turned image lies at t·(cos, sin) + s·(−sin, cos) of the image.
        matrix = np.array(
            [
                [cosine, -sine, middle - middle * (cosine - sine)],
                [sine, cosine, middle - middle * (sine + cosine)],
            ]
        )
        cv2.warpAffine(
            image, matrix, (n, n), dst=turned, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        sinogram[view] = turned.sum(axis=0)
    return sinogram * np.float32(spacing_mm)


def reconstruct(sinogram: Float, spacing_mm: float, kernel: Kernel = "standard") -> Float:
    """Filtered backprojection of `[V, N]` line integrals to `[N, N]` in 1/mm."""
    views, n = sinogram.shape
    filtered = _filtered(sinogram, spacing_mm, kernel)
    # Zeros on both sides stand for what lies outside the detector; the row is doubled because
    # OpenCV interpolates between two rows and treats what lies outside them slowly.
    margin = n // 4
    row = np.zeros((2, n + 2 * margin), np.float32)
    image = np.zeros((n, n), np.float32)
    smeared = np.empty_like(image)
    middle = (n - 1) / 2
    for view, (cosine, sine) in enumerate(_directions(views)):
        row[:, margin : margin + n] = filtered[view]
        matrix = np.array(
            [[cosine, sine, margin + middle - middle * (cosine + sine)], [0.0, 0.0, 0.0]]
        )
        cv2.warpAffine(
            row, matrix, (n, n), dst=smeared, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        cv2.add(image, smeared, image)
    return image * np.float32(np.pi / views)


def _filtered(sinogram: Float, spacing_mm: float, kernel: Kernel) -> Float:
    """The sinogram under the ramp filter and the kernel's Hann window, in 1/mm."""
    n = sinogram.shape[1]
    length = 1 << (2 * n - 1).bit_length()
    # The ramp is sampled in space (eq. 3.61) and not in frequency: the latter loses its mean.
    offset = np.fft.fftfreq(length, 1 / length)
    ramp = np.zeros(length)
    ramp[0] = 1 / (4 * spacing_mm**2)
    odd = np.abs(offset) % 2 == 1
    ramp[odd] = -1 / (np.pi * offset[odd] * spacing_mm) ** 2
    frequency = np.fft.rfftfreq(length) / (0.5 * HANN_CUTOFF[kernel])
    window = np.where(frequency <= 1, 0.5 + 0.5 * np.cos(np.pi * frequency), 0)
    response = np.fft.rfft(ramp).real * window * spacing_mm
    spectrum = np.fft.rfft(sinogram, length, axis=1) * response
    return np.fft.irfft(spectrum, length, axis=1)[:, :n].astype(np.float32)


def _directions(views: int) -> npt.NDArray[np.float64]:
    """Cosine and sine `[V, 2]` of the view angles, evenly over 180°."""
    angles = np.arange(views) * np.pi / views
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _side(image: Float) -> int:
    if image.ndim != 2 or image.shape[0] != image.shape[1]:
        raise ValueError(f"a square image is needed for projection, this one is {image.shape}")
    return int(image.shape[0])
