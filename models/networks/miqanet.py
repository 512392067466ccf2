"""MIQANet: a CNN and a Swin Transformer, aligned, each with its own patch-wise decoder.

Source: the MIQANet paper (a dual-branch framework for MRI image quality assessment), section IV,
Figures 4 and 5, Tables IV to VI. The code published with it is another network (a ViT-B/8 with
transposed attention beside a ResNet18, no deformable convolution, 147 M parameters); what is built
here is the paper's: an interchangeable CNN (IV-A), a Swin Transformer (IV-B), an offset map from
the Swin features for a deformable convolution over the CNN features, an adaptive parameter between
the branches (IV-C), two decoders, each a score and an attention for every patch (IV-D, equation 6).

What it leaves open, and what was chosen here:

- The grid of patches is 14×14, the Swin's third stage: 16 pixels, about the finest scale at which
  ghosting and noise can be told from anatomy, and the ViT-B/16's. Every stage of either backbone
  is brought to it (averaged down, bilinear up) and all are concatenated: Figure 4's C.
- Offsets: one 3×3 convolution of the Swin's stages, starting at zero (a plain convolution at
  first). One deformable 3×3 convolution, after a 1×1 one that mixes the CNN's stages.
- Each decoder is two blocks of its branch's own kind, then the text's two independent linear
  projections, score and weight: residual 3×3 convolutions with batch norm for the CNN, global
  self-attention over the patches for the Swin. So the total is the published one, see below.
- Figure 4's H is equation 6's s * w. w is a sigmoid, so no patch is ever wholly out of the score.
- α = sigmoid(a scalar), starting at 0.8. It weighs the Swin branch, by far the better one alone
  (Table IV); 1 − α weighs the CNN's. It weighs scores, not features: each decoder then answers
  for a score of its own, which is what the paper says a branch contributes. Without AP: ½ each.
- Scores are regressed on 0…1 and multiplied by the preset's highest, without a final squashing:
  a ReLU there, as in the published code, may die. The loss is MSE on the 0…1 scale.
- Pictures are 0…1 and normalised to (x − 0.5)/0.5 inside. Backbones of preset `paper` keep their
  published three-channel stems, so that ImageNet weights load and LIVE is seen in colour; a grey
  picture is repeated into the three. `compact` has a one-channel stem.

Preset `paper`: ResNet34 (21.3 M) and Swin-B (86.7 M) with 28.3 M of alignment and decoders are
136.3 M parameters; the paper says 137.65 M (Table V). Its Table VI gives about 137 M to a CNN-only
ResNet152 and to a Swin-only Swin-L too. Built alike, those have 72 M and 211 M (Swin-L alone has
195 M), so their architecture is reproduced and their count is not. Preset `compact` fits a CPU:
EfficientNet-Lite0 to its stride 16 (batch norm, no squeeze-excitation; its published weights
install from a package index), and a two-stage Swin, from scratch, that reads its tokens from that
net's stride 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.backbone import backbone, drop_unread
from models.networks.decoders import ConvolutionalDecoder, TransformerDecoder
from models.networks.deformable import DeformableConv
from models.networks.network import Network, check_ablations
from models.networks.patchwise import normalised_weights
from models.networks.small_cnn import LeNet, SimpleCNN

ALPHA = 0.8
"""Where the adaptive parameter starts."""

LEAST = 1e-6
"""What a patch weighs at least where its map is worked out, mean one."""

HAND_WRITTEN: Mapping[str, type[SimpleCNN] | type[LeNet]] = {"simplecnn": SimpleCNN, "lenet": LeNet}


@dataclass(frozen=True)
class Preset:
    """Sizes of one MIQANet.

    channels: of the pictures it is served; stem_channels: of its backbones' first layers; side:
    rows and columns of a picture; patch: side of a patch in pixels. cnn, cnn_options: `simplecnn`,
    `lenet` or a timm model that tells its stages apart, None without that branch; cnn_stages:
    which of them are used, by timm's index (hand-written nets: all). swin, swin_options: a timm
    Swin Transformer, None without that branch; swin_stages: which are used; swin_reads: the place
    in cnn_stages of the map it reads its tokens from, None for the picture; swin_weights: it can
    start from published weights, as every CNN can. adaptive: whether α is learned. aligned,
    embedded, heads: channels of the two decoders, attention heads of the second.
    """

    channels: int
    stem_channels: int
    side: int
    patch: int
    cnn: str | None
    cnn_options: Mapping[str, Any]
    cnn_stages: tuple[int, ...]
    swin: str | None
    swin_options: Mapping[str, Any]
    swin_stages: tuple[int, ...]
    swin_reads: int | None
    aligned: int
    embedded: int
    heads: int
    swin_weights: bool = True
    adaptive: bool = True
    highest: float = 4.0


PRESETS = {
    "paper": Preset(
        channels=1,
        stem_channels=3,
        side=224,
        patch=16,
        cnn="resnet34",
        cnn_options={},
        cnn_stages=(-4, -3, -2, -1),
        swin="swin_base_patch4_window7_224",
        swin_options={},
        swin_stages=(0, 1, 2, 3),
        swin_reads=None,
        aligned=512,
        embedded=768,
        heads=12,
    ),
    "compact": Preset(
        channels=1,
        stem_channels=1,
        side=224,
        patch=16,
        cnn="tf_efficientnet_lite0",
        cnn_options={},
        cnn_stages=(1, 2, 3),
        swin="swin_tiny_patch4_window7_224",
        swin_options={
            "patch_size": 2,
            "embed_dim": 64,
            "depths": (2, 2),
            "num_heads": (2, 4),
            "window_size": 7,
        },
        swin_stages=(0, 1),
        swin_reads=0,
        aligned=96,
        embedded=96,
        heads=4,
        swin_weights=False,
    ),
}

CNNS = ("simplecnn", "lenet", "vgg19", "resnet34", "resnet152")
"""The CNNs of section IV-A, and Table VI's."""

ABLATIONS = (*CNNS, "swin-l", "cnn-only", "swin-only", "without-adaptive")
"""What to change of a preset: its CNN, its Swin, which branches there are, whether α is learned.
ResNet152 and Swin-L are Table VI's larger single branches."""

TABLE_IV = (
    ("simplecnn", "cnn-only"),
    ("vgg19", "cnn-only"),
    ("resnet34", "cnn-only"),
    ("swin-only",),
    ("simplecnn", "without-adaptive"),
    ("vgg19", "without-adaptive"),
    ("resnet34", "without-adaptive"),
    ("simplecnn",),
    ("vgg19",),
    ("resnet34",),
)
"""The ablations of preset `paper` that make each row of Table IV, in its order."""

TABLE_VI = (("resnet152", "cnn-only"), ("swin-l", "swin-only"), ("resnet34",))
"""The same of Table VI."""


class MIQANet(Network):
    """The network. forward(pictures `[B, C, S, S]`, 0…1) → scores `[B]` scaled to 0…1."""

    served_outputs = ("score", "map", "weight")

    def __init__(self, preset: Preset, weights: Path | None = None) -> None:
        super().__init__()
        if preset.cnn is None and preset.swin is None:
            raise ValueError("a MIQANet needs a CNN branch, a Swin branch, or both")
        self.preset: Preset = preset
        self.grid = preset.side // preset.patch
        cnn_widths, cnn_reductions = self._build_cnn(preset, weights)
        if preset.swin is not None:
            read = preset.swin_reads
            swin: Any = backbone(
                preset.swin,
                weights if preset.swin_weights else None,
                features_only=True,
                in_chans=preset.stem_channels if read is None else cnn_widths[read],
                img_size=preset.side if read is None else preset.side // cnn_reductions[read],
                out_indices=preset.swin_stages,
                **preset.swin_options,
            )
            self.swin = swin
            total = sum(swin.feature_info.channels())
            self.swin_decoder = TransformerDecoder(total, preset.embedded, preset.heads)
        if preset.cnn is not None:
            self.mix = nn.Sequential(
                nn.Conv2d(sum(cnn_widths), preset.aligned, 1, bias=False),
                nn.BatchNorm2d(preset.aligned),
                nn.ReLU(),
            )
            self.align: nn.Module
            if preset.swin is None:
                # Nothing predicts offsets: without them the convolution is a plain one.
                self.align = nn.Conv2d(preset.aligned, preset.aligned, 3, padding=1)
            else:
                self.offsets = nn.Conv2d(total, 2 * 9, 3, padding=1)
                nn.init.zeros_(self.offsets.weight)
                if self.offsets.bias is not None:
                    nn.init.zeros_(self.offsets.bias)
                self.align = DeformableConv(preset.aligned, preset.aligned)
            self.cnn_decoder = ConvolutionalDecoder(preset.aligned)
        if preset.cnn is not None and preset.swin is not None and preset.adaptive:
            self.balance = nn.Parameter(torch.logit(torch.tensor(ALPHA)))

    def forward(self, pictures: Tensor) -> Tensor:
        score_map, weight = self.patches(pictures)
        return (score_map * weight).mean(dim=(-2, -1))

    def patches(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (0…1) and weights (mean one) of the patches, both `[B, h, w]`.

        The mean of score·weight is what forward returns. Each branch's weights are equation 6's
        divided by their mean. Where there are two branches, a patch weighs what 1 − α and α leave
        of both and scores their mean at these weights: map and weights explain the score.
        """
        branches = self.branches(pictures)
        if len(branches) == 1:
            return branches[0]
        (s_cnn, w_cnn), (s_swin, w_swin) = branches
        alpha = self.alpha
        # A patch that neither branch weighs still has a score: both branches' at α.
        from_cnn, from_swin = (1 - alpha) * (w_cnn + LEAST), alpha * (w_swin + LEAST)
        score = (from_cnn * s_cnn + from_swin * s_swin) / (from_cnn + from_swin)
        return score, (1 - alpha) * w_cnn + alpha * w_swin

    def branches(self, pictures: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Scores and weights of mean one `[B, h, w]` by the CNN branch, then by the Swin branch."""
        stems = self.preset.stem_channels
        if pictures.shape[1] == 1 and stems > 1:
            pictures = pictures.expand(-1, stems, -1, -1)
        pictures = (pictures - 0.5) / 0.5
        results = []
        maps = self.cnn(pictures) if self.cnn is not None else []
        if self.preset.swin is not None:
            read = self.preset.swin_reads
            tokens = self.swin(pictures if read is None else maps[read])
            context = self._gather([stage.permute(0, 3, 1, 2) for stage in tokens])
        if self.preset.cnn is not None:
            mixed = self.mix(self._gather(maps))
            if self.preset.swin is None:
                aligned = self.align(mixed)
            else:
                aligned = self.align(mixed, self.offsets(context))
            results.append(self._scored(self.cnn_decoder(F.relu(aligned))))
        if self.preset.swin is not None:
            results.append(self._scored(self.swin_decoder(context)))
        return results

    @property
    def alpha(self) -> Tensor | float:
        """The weight of the Swin branch, 0…1."""
        return torch.sigmoid(self.balance) if self.preset.adaptive else 0.5

    def targets(self, scores: Tensor) -> Tensor:
        """Scores `[B]` scaled to 0…1."""
        return scores / self.preset.highest

    def estimate(self, raw: Tensor) -> Tensor:
        return raw * self.preset.highest

    def served(self) -> nn.Module:
        return Served(self)

    def _build_cnn(self, preset: Preset, weights: Path | None) -> tuple[list[int], list[int]]:
        """The CNN, the widths of its maps and their strides; nothing without that branch."""
        self.cnn: Any = None
        name = preset.cnn
        if name is None:
            return [], []
        if name in HAND_WRITTEN:
            self.cnn = HAND_WRITTEN[name](preset.stem_channels)
            return list(self.cnn.channels), list(self.cnn.reductions)
        self.cnn = backbone(
            name,
            weights,
            features_only=True,
            in_chans=preset.stem_channels,
            out_indices=preset.cnn_stages,
            **preset.cnn_options,
        )
        drop_unread(self.cnn)
        return self.cnn.feature_info.channels(), self.cnn.feature_info.reduction()

    def _gather(self, maps: list[Tensor]) -> Tensor:
        """The maps brought to the grid of patches and concatenated."""
        return torch.cat([self._to_grid(one) for one in maps], dim=1)

    def _to_grid(self, features: Tensor) -> Tensor:
        side = features.shape[-1]
        if side % self.grid == 0:
            return F.avg_pool2d(features, side // self.grid) if side > self.grid else features
        return F.interpolate(features, (self.grid, self.grid), mode="bilinear", align_corners=False)

    def _scored(self, projections: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """A decoder's projections as scores and weights of mean one."""
        score, attention = projections
        return score, normalised_weights(attention) * self.grid**2


class Served(nn.Module):
    """What is exported: pictures `[B, C, S, S]` → score `[B]`, map and weight `[B, h, w]`.

    Score and map are clipped to the scale; weights have mean one.
    """

    def __init__(self, network: MIQANet) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score_map, weight = self.network.patches(pictures)
        score = (score_map * weight).mean(dim=(-2, -1))
        return self._on_scale(score), self._on_scale(score_map), weight

    def _on_scale(self, fraction: Tensor) -> Tensor:
        return fraction.clamp(0.0, 1.0) * self.network.preset.highest


def build(preset: str, *, weights: Path | None = None, ablations: Iterable[str] = ()) -> MIQANet:
    """MIQANet of a named preset. Raises KeyError naming the presets or ablations there are.

    Raises ValueError for ablations that contradict one another or the preset, FileNotFoundError
    where weights are given and a backbone's are not among them.
    """
    if preset not in PRESETS:
        raise KeyError(f"MIQANet has no preset {preset!r}; it has {', '.join(PRESETS)}")
    asked = frozenset(ablations)
    check_ablations("MIQANet", ABLATIONS, asked)
    return MIQANet(_changed(PRESETS[preset], asked), weights)


def _changed(preset: Preset, asked: frozenset[str]) -> Preset:
    """The preset with ablations made. Raises ValueError where they cannot be."""
    cnns = sorted(asked & set(CNNS))
    if len(cnns) > 1 or {"cnn-only", "swin-only"} <= asked or (cnns and "swin-only" in asked):
        raise ValueError(f"these ablations exclude one another: {', '.join(sorted(asked))}")
    if preset.swin_reads is not None and asked & {*CNNS, "swin-l", "swin-only"}:
        raise ValueError(
            "this preset's Swin reads its tokens from its own CNN, which can be neither changed "
            "nor left out; take preset paper"
        )
    if cnns:
        preset = replace(preset, cnn=cnns[0])
    if "swin-l" in asked:
        preset = replace(preset, swin="swin_large_patch4_window7_224")
    if "cnn-only" in asked:
        preset = replace(preset, swin=None)
    if "swin-only" in asked:
        preset = replace(preset, cnn=None)
    return replace(preset, adaptive=preset.adaptive and "without-adaptive" not in asked)
