"""MD-IQA: a dual-branch alignment network that regresses Gaussian score vectors.

Source: the MD-IQA paper (multi-scale distributions regression and dual-branch alignment for
low-dose CT), sections 2.2 and 2.3. No code of it was published. What the paper states is built as
stated: ViT and CNN features, offsets for a deformable convolution predicted from the ViT's,
attention on the aligned CNN features, patchwise vectors f′ weighted by w = sigmoid of a
convolution of f′ and normalised (equation 2), K Gaussian vectors of N points (equation 1).

What it leaves open, and what was chosen here:

- N = 81, so that a point is 0.05 of a score (labels come in steps of 0.2 or finer).
- K = 3, τ = 0.02, 0.04, 0.08: from one label step to a whole grade of blur (σ = 0.08…0.32).
- ViT maps: after each of four equal parts of its depth, all concatenated for the offsets, as in
  AHIQ, the nearest published relative; the last alone is fused.
- CNN maps: the later stages, average-pooled to the ViT's grid, concatenated, mixed by 1×1.
  Pooling keeps the mean energy of a texture, which is what noise is.
- One deformable 3×3 convolution, offsets starting at zero (a plain convolution at first).
- "Attention layers": channel then spatial attention (CBAM, timm's).
- Two 3×3 convolutions between fused features and f′.
- f′ and the vector Y of equation 2 are logarithms. The logarithm of a Gaussian is a parabola,
  which a convolution makes easily and averages stay; exp(Y − max Y) has the peak one of
  equation 1, and softmax(Y) is the same curve as a density, for the KL term.
- Batch normalisation after the new convolutions: they learn from scratch.
- β = 0.1 of equation 4 is the network's `kl_weight`, which a recipe may set.
- Table 2's rows without MD are Figure 2's direct regression model: `direct-regression` gives every
  patch one number on 0…1 for its K·N, under L2 alone. `one-scale` keeps the distribution and only
  the middle one of the scales, which tells apart what the distribution gives and what the scales.
  Its rows without SS are a procedure, step 1 of section 2.4 alone, and no other network.
- Input 224, as the backbones were published; `paper` sees (x − 0.5)/0.5, a grey picture repeated
  into the three channels of its stems, so that ImageNet weights load.

Preset `paper` takes timm's ViT-B/16 (85.8 M parameters) and ConvNeXt-B (87.6 M) with their
ImageNet weights where these are at hand; aligning and scoring add 12.3 M. Preset `compact`
fits a CPU: EfficientNet-Lite0 (batch norm, no squeeze-excitation; its published weights install
from a package index), and a small ViT, from scratch, that reads its tokens from that net's
stride 8. (A narrow residual net from scratch learned noise and streaks in half an hour of one
core, and no other damage.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from timm.layers.cbam import CbamModule
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks import gaussian
from models.networks.backbone import backbone, drop_unread
from models.networks.deformable import DeformableConv
from models.networks.network import Network, check_ablations
from models.networks.patchwise import normalised_weights

ABLATIONS = ("direct-regression", "one-scale")

KL_WEIGHT = 0.1
"""β of equation 4."""

SCORE_AND_MAP = ("score", "map")


@dataclass(frozen=True)
class Preset:
    """Sizes of one MD-IQA.

    channels: of the pictures it is served; stem_channels: of its backbones' first layers; mean,
    deviation: what pictures are normalised by; cnn, cnn_options: a timm model that tells its
    stages apart, and what it is built with; cnn_stages: which of them are aligned, by timm's
    index; vit, vit_options: a timm ViT; vit_reads: the index of the CNN stage it reads its tokens
    from, or None for the picture; vit_weights: the ViT can start from published weights, as every
    CNN can; aligned, hidden: channels of the aligned features and of the score head; distributions:
    whether vectors are regressed or a single number; count, taus: N and τ of equation 1.
    """

    channels: int
    side: int
    cnn: str
    cnn_options: dict[str, Any]
    cnn_stages: tuple[int, ...]
    vit: str
    vit_options: dict[str, Any]
    vit_reads: int | None
    aligned: int
    hidden: int
    stem_channels: int = 1
    mean: float = 0.0
    deviation: float = 1.0
    vit_weights: bool = True
    distributions: bool = True
    count: int = 81
    taus: tuple[float, ...] = (0.02, 0.04, 0.08)
    highest: float = 4.0


PRESETS = {
    "paper": Preset(
        channels=1,
        stem_channels=3,
        mean=0.5,
        deviation=0.5,
        side=224,
        cnn="convnext_base",
        cnn_options={},
        cnn_stages=(0, 1, 2, 3),
        vit="vit_base_patch16_224",
        vit_options={},
        vit_reads=None,
        aligned=512,
        hidden=512,
    ),
    "compact": Preset(
        channels=1,
        mean=0.5,
        deviation=0.5,
        side=256,
        cnn="tf_efficientnet_lite0",
        cnn_options={},
        cnn_stages=(1, 2, 3),
        vit="vit_tiny_patch16_224",
        vit_options={"patch_size": 2, "embed_dim": 96, "depth": 4, "num_heads": 4},
        vit_reads=2,
        vit_weights=False,
        aligned=96,
        hidden=96,
    ),
}


class MDIQA(Network):
    """The network. forward(pictures `[B, C, S, S]`, 0…1) → logits `[B, K, N]`.

    Without distributions: → numbers `[B]` on 0…1. kl_weight: β of equation 4.
    """

    taus: Tensor
    scores: Tensor

    def __init__(self, preset: Preset, weights: Path | None = None) -> None:
        super().__init__()
        self.preset: Preset = preset
        self.kl_weight = KL_WEIGHT
        self.served_outputs = ("score", "map", "spread") if preset.distributions else SCORE_AND_MAP
        read = preset.vit_reads
        stages = sorted({*preset.cnn_stages} | ({read} if read is not None else set()))
        cnn: Any = backbone(
            preset.cnn,
            weights,
            features_only=True,
            in_chans=preset.stem_channels,
            out_indices=stages,
            **preset.cnn_options,
        )
        drop_unread(cnn)
        widths = dict(zip(stages, cnn.feature_info.channels(), strict=True))
        strides = dict(zip(stages, cnn.feature_info.reduction(), strict=True))
        self._stages = stages
        from_cnn = read is not None
        vit: Any = backbone(
            preset.vit,
            weights if preset.vit_weights else None,
            in_chans=preset.stem_channels if read is None else widths[read],
            img_size=preset.side if read is None else preset.side // strides[read],
            num_classes=0,
            class_token=not from_cnn,
            global_pool="" if from_cnn else "token",
            **preset.vit_options,
        )
        self.cnn, self.vit = cnn, vit
        depth = len(vit.blocks)
        self._vit_maps = [depth * part // 4 - 1 for part in (1, 2, 3, 4)]
        self._grid: tuple[int, int] = vit.patch_embed.grid_size
        embedded: int = vit.embed_dim
        self.offsets = nn.Conv2d(4 * embedded, 2 * 9, 3, padding=1)
        nn.init.zeros_(self.offsets.weight)
        if self.offsets.bias is not None:
            nn.init.zeros_(self.offsets.bias)
        total = sum(widths[stage] for stage in preset.cnn_stages)
        self.mix = _conv(total, preset.aligned, 1)
        self.align = DeformableConv(preset.aligned, preset.aligned)
        self.attend = nn.Sequential(
            nn.BatchNorm2d(preset.aligned), nn.ReLU(), CbamModule(preset.aligned)
        )
        self.fuse = nn.Sequential(
            _conv(preset.aligned + embedded, preset.hidden, 3),
            _conv(preset.hidden, preset.hidden, 3),
        )
        out = len(preset.taus) * preset.count if preset.distributions else 1
        self.score = nn.Conv2d(preset.hidden, out, 1)
        self.weigh = nn.Conv2d(out, out, 1)
        self.register_buffer("taus", torch.tensor(preset.taus), persistent=False)
        self.register_buffer(
            "scores", gaussian.points(preset.count, preset.highest), persistent=False
        )

    def forward(self, pictures: Tensor) -> Tensor:
        patches, weights = self.patches(pictures)
        # Equation 2.
        total = (weights * patches).sum(dim=(-2, -1))
        return self._vectors(total) if self.preset.distributions else total.squeeze(1)

    def patches(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """f′ and w/Σw of equation 2, both `[B, K·N, h, w]`; one channel without distributions."""
        preset = self.preset
        if pictures.shape[1] < preset.stem_channels:
            pictures = pictures.expand(-1, preset.stem_channels, -1, -1)
        if (preset.mean, preset.deviation) != (0.0, 1.0):
            pictures = (pictures - preset.mean) / preset.deviation
        features = dict(zip(self._stages, self.cnn(pictures), strict=True))
        read = self.preset.vit_reads
        tokens = self.vit.forward_intermediates(
            pictures if read is None else features[read],
            indices=self._vit_maps,
            norm=True,
            intermediates_only=True,
            output_fmt="NCHW",
        )
        pooled = [self._pool(features[stage]) for stage in self.preset.cnn_stages]
        mixed = self.mix(torch.cat(pooled, dim=1))
        aligned = self.attend(self.align(mixed, self.offsets(torch.cat(tokens, dim=1))))
        fused = self.fuse(torch.cat([aligned, tokens[-1]], dim=1))
        patches = self.score(fused)
        return patches, normalised_weights(self.weigh(patches))

    def targets(self, scores: Tensor) -> Tensor:
        """Equation 1 for scores `[B]`: the vectors `[B, K, N]` this network should return.

        Without distributions: the scores scaled to 0…1.
        """
        if not self.preset.distributions:
            return scores / self.preset.highest
        return gaussian.target_vectors(scores, self.taus, self.preset.count, self.preset.highest)

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """Equation 4; without distributions, L2 alone."""
        if not self.preset.distributions:
            return F.mse_loss(raw.float(), targets)
        return gaussian.distribution_loss(raw.float(), targets, self.kl_weight)

    def estimate(self, raw: Tensor) -> Tensor:
        """Section 2.2: the scores `[B]` by argmax, as published; without distributions, scaled."""
        if not self.preset.distributions:
            return raw * self.preset.highest
        return gaussian.peak_score(raw, self.preset.highest)

    def served(self) -> nn.Module:
        return Served(self) if self.preset.distributions else ServedDirect(self)

    def _pool(self, features: Tensor) -> Tensor:
        H, W = features.shape[-2:]
        rows, columns = self._grid
        if H % rows == 0 and W % columns == 0:
            return F.avg_pool2d(features, (H // rows, W // columns))
        return F.interpolate(features, self._grid, mode="bilinear", align_corners=False)

    def _vectors(self, stacked: Tensor) -> Tensor:
        return stacked.reshape(-1, len(self.preset.taus), self.preset.count)


class Served(nn.Module):
    """What is exported: pictures `[B, C, S, S]` → score `[B]`, map `[B, h, w]`, spread `[B]`.

    The score is the expectation, for an argmax of 0.05 steps would jump where two
    points are nearly even. The map is the same expectation of every patch's own vectors.
    """

    def __init__(self, network: MDIQA) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        network = self.network
        patches, weights = network.patches(pictures)
        total = (weights * patches).sum(dim=(-2, -1))
        logits = network._vectors(total)
        rows, columns = network._grid
        K, N = len(network.preset.taus), network.preset.count
        by_patch = patches.reshape(-1, K, N, rows * columns).permute(0, 3, 1, 2)
        score_map = gaussian.expected_score(by_patch, network.scores)
        return (
            gaussian.expected_score(logits, network.scores),
            score_map.reshape(-1, rows, columns),
            gaussian.spread(logits, network.scores),
        )


class ServedDirect(nn.Module):
    """What is exported of a direct regression: → score `[B]`, map `[B, h, w]`, on the scale."""

    def __init__(self, network: MDIQA) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        patches, weights = self.network.patches(pictures)
        score = (weights * patches).sum(dim=(-3, -2, -1))
        return self._on_scale(score), self._on_scale(patches.squeeze(1))

    def _on_scale(self, fraction: Tensor) -> Tensor:
        return fraction.clamp(0.0, 1.0) * self.network.preset.highest


def build(preset: str, *, weights: Path | None = None, ablations: Iterable[str] = ()) -> MDIQA:
    """MD-IQA of a named preset. Raises KeyError naming the presets or ablations there are.

    Raises FileNotFoundError where weights are given and a backbone's are not among them.
    """
    if preset not in PRESETS:
        raise KeyError(f"MD-IQA has no preset {preset!r}; it has {', '.join(PRESETS)}")
    asked = frozenset(ablations)
    check_ablations("MD-IQA", ABLATIONS, asked)
    chosen = PRESETS[preset]
    if "one-scale" in asked:
        chosen = replace(chosen, taus=(chosen.taus[len(chosen.taus) // 2],))
    if "direct-regression" in asked:
        chosen = replace(chosen, distributions=False)
    return MDIQA(chosen, weights)


def _conv(channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
