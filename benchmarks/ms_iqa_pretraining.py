"""MS-IQA's pre-training on simulated damage: it learns to read noise and compression.

Clean fused PET/CT is drawn from one study (DICOM, CT and attenuation-corrected PET of the same
frame of reference): CT in a soft-tissue window, the PET over it in a hot-iron palette. Every crop
is damaged anew, and both branches of the network learn to tell by how much:

- Gaussian noise, each channel for itself, of standard deviation `sigma` (1 is white);
- shot noise: each channel of a pixel goes white with a chance of `density` times its brightness
  (additive Poisson noise of few, strong events);
- JPEG at a quality, 4:2:0, its blocks anywhere in the crop.

No score enters. `folder` is the study's: any tree of DICOM files.
"""

from __future__ import annotations

import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from models.networks.ms_iqa import MSIQA
from models.render import hot_iron, resize

SIDE = 224
AROUND = SIDE + 16
"""Side of what is damaged; the crop lies within, so that JPEG's blocks start anywhere."""
WINDOW = (-160.0, 240.0)
"""HU drawn black and white."""
BODY = 0.12
"""Mean of the three channels above which a pixel shows the body."""

SIGMAS, DENSITIES, QUALITIES = (0.004, 0.06), (0.001, 0.016), (25, 96)
UNITS = (0.04, 0.01, 1.0)
"""What is 1 in the targets: sigma, density, and the factor on JPEG's standard tables."""
NONE = 0.3
"""Chance that a crop has none of one kind of damage (quality 100 for JPEG)."""

Picture = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pretraining:
    """Length, batch and highest learning rates (AdamW, one-cycle) of the pre-training."""

    steps: int = 2000
    batch: int = 8
    rate: float = 2e-3
    backbone_rate: float = 1e-3
    weight_decay: float = 0.02
    pictures: int = 160
    seed: int = 20


def pretrain(network: MSIQA, folder: Path, settings: Pretraining) -> None:
    """Teach `network` in place; the last layers of its two branches are left as they were."""
    rng = np.random.default_rng(settings.seed)
    pictures = draw(folder, settings.pictures, rng)
    score: Any = network.score
    weigh: Any = network.weigh
    last = score[-1], weigh[-2], weigh[-1]
    # Both branches end in three numbers for the time being; `branches` then gives [B, 3] twice.
    score[-1] = nn.Linear(last[0].in_features, 3)
    weigh[-2] = nn.Linear(last[1].in_features, 3)
    weigh[-1] = nn.Identity()
    network.to(memory_format=torch.channels_last).train()
    rates = {"cnn.": settings.backbone_rate, "": settings.rate}
    optimiser = torch.optim.AdamW(parts(network, rates), weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        [group["lr"] for group in optimiser.param_groups],
        total_steps=settings.steps,
        pct_start=0.15,
        cycle_momentum=False,
    )
    started, recent = time.process_time(), None
    for step in range(1, settings.steps + 1):
        crops, levels = zip(*[damaged(pictures, rng) for _ in range(settings.batch)], strict=True)
        targets = torch.from_numpy(np.stack(levels))
        pixels = torch.from_numpy(np.stack(crops)).float().div(255)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            both = network.branches(pixels.to(memory_format=torch.channels_last))
        errors = torch.stack([(read.float() - targets).square().mean(0) for read in both])
        optimiser.zero_grad()
        errors.sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], 1.0)
        optimiser.step()
        schedule.step()
        now = errors.detach()
        recent = now if recent is None else recent.lerp(now, 0.02)
        if step % 100 == 0:
            spent = round(time.process_time() - started)
            print(
                f"pre-training {step}: errors² of sigma, density, compression "
                f"{np.round(recent.numpy(), 4).tolist()}, {spent} s",
                file=sys.stderr,
                flush=True,
            )
    score[-1], weigh[-2], weigh[-1] = last


def parts(network: nn.Module, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Parameters that learn, by the first prefix in `rates` that theirs begins with."""
    groups: dict[str, list[nn.Parameter]] = {prefix: [] for prefix in rates}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups[next(prefix for prefix in rates if name.startswith(prefix))].append(parameter)
    return [{"params": groups[prefix], "lr": rate} for prefix, rate in rates.items()]


def draw(folder: Path, count: int, rng: np.random.Generator) -> list[Picture]:
    """`count` clean fused slices `[n, n, 3]`, 0…1, of sizes and colours that differ."""
    slices = _slices(folder)
    pictures: list[Picture] = []
    while len(pictures) < count:
        grey, uptake = slices[rng.integers(len(slices))]
        zoom = rng.uniform(0.7, 1.7)
        if rng.random() < 0.5:
            grey = ndimage.gaussian_filter(grey, rng.uniform(0.3, 1.0))
        side = max(round(len(grey) * zoom), AROUND)
        grey, uptake = (resize(plane, side, side) for plane in (grey, uptake))
        hot = hot_iron((uptake * np.float32(rng.uniform(0.3, 1.2))).clip(0, 1)).transpose(1, 2, 0)
        share = rng.uniform(0.3, 0.55)
        picture = ((1 - share) * grey[..., None] + share * hot) * rng.uniform(0.85, 1.2)
        if (picture.mean(axis=2) > BODY).sum() > 3000:
            pictures.append(picture.clip(0, 1).astype(np.float32))
    return pictures


def damaged(pictures: list[Picture], rng: np.random.Generator) -> tuple[Pixels, Picture]:
    """A crop `[3, 224, 224]` somewhere on a body, damaged, and by how much `[3]`, in UNITS."""
    picture = pictures[rng.integers(len(pictures))]
    centre = rng.choice(np.argwhere(picture[::8, ::8].mean(axis=2) > BODY)) * 8
    centre = centre + rng.integers(-40, 41, 2)
    top, left = (
        int(np.clip(c - AROUND // 2, 0, size - AROUND))
        for c, size in zip(centre, picture.shape[:2], strict=True)
    )
    crop = picture[top : top + AROUND, left : left + AROUND]
    sigma, density = (
        0.0 if rng.random() < NONE else rng.uniform(*span) for span in (SIGMAS, DENSITIES)
    )
    quality = 100 if rng.random() < NONE else int(rng.integers(*QUALITIES))
    worse = damage(crop, sigma, density, quality, rng)
    y, x = rng.integers(0, AROUND - SIDE + 1, 2)
    worse = np.rot90(worse[y : y + SIDE, x : x + SIDE], int(rng.integers(4)))
    if rng.integers(2):
        worse = worse[:, ::-1]
    tables = (200 - 2 * quality if quality >= 50 else 5000 / quality) / 100
    levels = np.array([sigma, density, tables]) / np.array(UNITS)
    return worse.transpose(2, 0, 1), levels.astype(np.float32)


def damage(
    picture: Picture, sigma: float, density: float, quality: int, rng: np.random.Generator
) -> Pixels:
    """`[h, w, 3]`, 0…1, with noise and shots, then through JPEG."""
    worse = picture
    if density:
        shots = rng.random(picture.shape, np.float32) < density * picture
        worse = np.where(shots, np.float32(1), worse)
    if sigma:
        worse = worse + np.float32(sigma) * rng.standard_normal(picture.shape, np.float32)
    file = io.BytesIO()
    drawn = (worse.clip(0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(drawn).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _slices(folder: Path) -> list[tuple[Picture, Picture]]:
    """CT 0…1 and the PET at its pixels, 1 at the study's 99.5th percentile, slice by slice."""
    files = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    images = [f for f in files if "AXIAL" in f.get("ImageType", ()) or f.Modality == "PT"]
    ct = [f for f in images if f.Modality == "CT"]
    pet = [f for f in images if "ATTN" in f.get("CorrectedImage", ())]
    if not ct or not pet:
        raise SystemExit(f"{folder}: no axial CT with attenuation-corrected PET; give such a study")
    heights = np.array([float(f.ImagePositionPatient[2]) for f in pet])
    slices = []
    for scan in ct[::2]:
        other = pet[int(np.abs(heights - float(scan.ImagePositionPatient[2])).argmin())]
        ratio = float(scan.PixelSpacing[0]) / float(other.PixelSpacing[0])
        # Rows follow y, columns x: the position is (x, y, z).
        start = [
            (float(scan.ImagePositionPatient[axis]) - float(other.ImagePositionPatient[axis]))
            / float(other.PixelSpacing[0])
            for axis in (1, 0)
        ]
        uptake = ndimage.affine_transform(
            _values(other), [ratio, ratio], start, scan.pixel_array.shape, order=1
        )
        grey = ((_values(scan) - WINDOW[0]) / (WINDOW[1] - WINDOW[0])).clip(0, 1)
        slices.append((grey, uptake))
    top = float(np.percentile(np.stack([uptake for _, uptake in slices]), 99.5))
    return [(grey, uptake / np.float32(top)) for grey, uptake in slices]


def _values(file: Any) -> Picture:
    slope, intercept = float(file.RescaleSlope), float(file.RescaleIntercept)
    return np.asarray(file.pixel_array * slope + intercept, np.float32)
