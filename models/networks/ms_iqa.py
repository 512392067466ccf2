"""MS-IQA: multi-scale fusion of ResNet and Swin features, score times weight.

Source: Li et al., MS-IQA: A Multi-Scale Feature Fusion Network for PET/CT Image Quality
Assessment, MICCAI 2025 (arXiv:2506.20200), the network's figure, and the authors' public code
where the text is silent. Shapes at preset `paper`:

- ResNet-50 and Swin-T read the same picture `[B, 3, 224, 224]`, drawn 0…1, as (x − 0.5)/0.5.
- The raw outputs of their stages 1…4, at 56², 28², 14² and 7², are concatenated: 352, 704, 1408,
  2816 channels. A 1×1 convolution halves each; stages 1–3 are average-pooled to 7×7.
- Adaptive graph channel attention (ratio 4) gates each of the four levels, and a fifth one gates
  Swin's stage 4 (768 channels).
- Score branch: the gated Swin features → mean over 7×7 → 768 → 384 → 1: f.
- Weight branch: the four levels, 2640 channels → maximum over 7×7 → 768 → 384 → 1 → sigmoid: w.
- The output is the plain product f×w, as the figure has it.

Where the published code differs: it returns Σ(f·w)/Σw over the single element there is, so w
cancels and ResNet, fusion and attention get no gradient. `tests/models/test_models_ms_iqa.py`
builds that too, and shows it failing.

What paper and code leave open, and what was chosen here:

- Loss: mean squared error, on labels scaled to 0…1 as published (`targets`, `estimate`).
- LeakyReLU and dropout after every hidden layer of both branches, none before the first.
- A serving host gets the estimate clipped to the scale. There is one weight a picture, none a
  patch, so no map is served.
- No ablation table is in the paper's abstract; `without-attention` leaves out the five gates and
  `without-weight` the whole weight branch (f alone), the two contributions the abstract names.

Preset `compact` learns from scratch on a CPU: a narrow residual net with batch norm; a Swin with
a quarter of the width, two blocks a stage, that reads its tokens from the net's first stage, for
a transformer's own patch embedding learns little from few pictures; batch norm after the 1×1
convolutions, whose inputs otherwise differ in scale; less dropout.

Preset `compact-512` reads whole pictures of 512², the matrix of nearly every CT: noise of single
pixels and 8×8 blocks do not survive resampling. Its CNN is EfficientNet-Lite0 on published
weights; the Swin, which has none, reads tokens of 2×2 of the CNN's first stage in windows of 4, so
that a crop of 256² fits the same weights (`trainer/severities.py` teaches it by such crops); the
CNN's levels are averaged to the Swin's before both are concatenated. A patient fills less or more
of such a picture, so f is read from the mean over the body and not over the air around it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.backbone import backbone
from models.networks.channel_attention import GraphChannelAttention
from models.networks.network import Network, check_ablations

ABLATIONS = ("without-attention", "without-weight")

NOWHERE = 1e-3
"""What a place without body weighs, against one that is all body."""


@dataclass(frozen=True)
class Preset:
    """Sizes of one MS-IQA.

    cnn, swin: timm models of four stages, and what they are built with; swin_reads_stem: the
    Swin's tokens come from the CNN's first stage instead of the picture; weights: the backbones
    can start from published weights; stem: filters of `HighFrequencies` before the CNN, 0 for
    none; norm: batch norm after the 1×1 convolutions; hidden: widths of the two hidden
    layers of the weight branch (the score branch has the second alone).
    """

    cnn: str
    cnn_options: dict[str, Any] = field(default_factory=dict)
    swin: str = "swin_tiny_patch4_window7_224"
    swin_options: dict[str, Any] = field(default_factory=dict)
    swin_reads_stem: bool = False
    weights: bool = True
    swin_weights: bool = True
    norm: bool = False
    body: float | None = None
    hidden: tuple[int, int] = (768, 384)
    dropout: float = 0.5
    channels: int = 3
    side: int = 224
    highest: float = 4.0


PRESETS = {
    "paper": Preset(cnn="resnet50"),
    "compact": Preset(
        cnn="resnet10t",
        cnn_options={"channels": (32, 64, 128, 192), "stem_width": 16},
        swin_options={"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)},
        swin_reads_stem=True,
        weights=False,
        norm=True,
        hidden=(192, 96),
        dropout=0.1,
    ),
}
PRESETS["compact-512"] = replace(
    PRESETS["compact"],
    cnn="tf_efficientnet_lite0",
    cnn_options={},
    swin_options=PRESETS["compact"].swin_options | {"window_size": 4, "patch_size": 2},
    weights=True,
    swin_weights=False,
    body=0.08,
    side=512,
)


class MSIQA(Network):
    """The network. forward(pictures `[B, C, S, S]`, 0…1) → f×w `[B]`, a score scaled to 0…1."""

    def __init__(
        self,
        preset: Preset,
        weights: Path | None = None,
        ablations: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.preset: Preset = preset
        self.weighted = "without-weight" not in ablations
        attentive = "without-attention" not in ablations
        swin_options = dict(preset.swin_options)
        cnn: Any = None
        if self.weighted or preset.swin_reads_stem:
            cnn = backbone(
                preset.cnn,
                weights,
                features_only=True,
                in_chans=preset.channels,
                # Without the weight branch nothing reads the later stages.
                out_indices=(1, 2, 3, 4) if self.weighted else (1,),
                **preset.cnn_options,
            )
        if preset.swin_reads_stem:
            swin_options |= {
                "in_chans": cnn.feature_info.channels()[0],
                "img_size": preset.side // cnn.feature_info.reduction()[0],
                "patch_size": swin_options.get("patch_size", 1),
            }
        else:
            swin_options |= {"in_chans": preset.channels, "img_size": preset.side}
        swin: Any = backbone(
            preset.swin,
            weights if preset.swin_weights else None,
            features_only=True,
            **swin_options,
        )
        self.cnn, self.swin = cnn, swin
        last: int = swin.feature_info.channels()[-1]
        first_hidden, hidden = preset.hidden
        self.attend_swin = GraphChannelAttention(last) if attentive else nn.Identity()
        self.score = nn.Sequential(
            *_hidden(last, hidden, preset.dropout),
            nn.Linear(hidden, 1),
        )
        if not self.weighted:
            return
        widths = [
            cnn_width + swin_width
            for cnn_width, swin_width in zip(
                cnn.feature_info.channels(), swin.feature_info.channels(), strict=True
            )
        ]
        self.halve = nn.ModuleList(_halve(width, preset.norm) for width in widths)
        self.attend = nn.ModuleList(
            GraphChannelAttention(width // 2) if attentive else nn.Identity() for width in widths
        )
        self.weigh = nn.Sequential(
            *_hidden(sum(width // 2 for width in widths), first_hidden, preset.dropout),
            *_hidden(first_hidden, hidden, preset.dropout),
            nn.Linear(hidden, 1),
            nn.Sigmoid(),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        score, weight = self.branches(pictures)
        return score * weight

    def branches(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """f and w of the figure, both `[B]`; w is 0…1, and 1 without the weight branch."""
        return self.read(*self.vectors(pictures))

    def read(self, for_score: Tensor, for_weight: Tensor) -> tuple[Tensor, Tensor]:
        """f and w `[B]` by the fully connected layers, of what `vectors` found."""
        score = self.score(for_score).squeeze(1)
        if not self.weighted:
            return score, torch.ones_like(score)
        return score, self.weigh(for_weight).squeeze(1)

    def vectors(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the fully connected layers of f and of w, pooled: `[B, width]` each.

        Without the weight branch the second one is empty, `[B, 0]`.
        """
        x = (pictures - 0.5) / 0.5
        by_cnn = self.cnn(x) if self.cnn is not None else []
        tokens = self.swin(by_cnn[0] if self.preset.swin_reads_stem else x)
        # timm's Swin keeps channels last: [B, H, W, C].
        by_swin = [stage.permute(0, 3, 1, 2) for stage in tokens]
        for_score = self._pooled(self.attend_swin(by_swin[-1]), pictures)
        if not self.weighted:
            return for_score, for_score[:, :0]
        levels = []
        grid = by_swin[-1].shape[-1]  # the last stage's side, to which the others are pooled
        for cnn, swin, halve, attend in zip(by_cnn, by_swin, self.halve, self.attend, strict=True):
            if cnn.shape[-1] != swin.shape[-1]:
                cnn = F.avg_pool2d(cnn, cnn.shape[-1] // swin.shape[-1])
            fused = halve(torch.cat([cnn, swin], dim=1))
            levels.append(attend(F.avg_pool2d(fused, fused.shape[-1] // grid)))
        return for_score, torch.cat(levels, dim=1).amax(dim=(2, 3))

    def _pooled(self, features: Tensor, pictures: Tensor) -> Tensor:
        """The mean `[B, C]` of features `[B, C, h, w]` over the picture, or over its body."""
        if self.preset.body is None:
            return features.mean(dim=(2, 3))
        body = (pictures.mean(dim=1, keepdim=True) > self.preset.body).to(features.dtype)
        share = F.avg_pool2d(body, pictures.shape[-1] // features.shape[-1])
        # A picture of air alone has no body: all of it counts alike.
        share = share + NOWHERE
        return (features * share).sum(dim=(2, 3)) / share.sum(dim=(2, 3))

    def targets(self, scores: Tensor) -> Tensor:
        """Scores `[B]` scaled to 0…1."""
        return scores / self.preset.highest

    def estimate(self, raw: Tensor) -> Tensor:
        return raw * self.preset.highest


def build(preset: str, *, weights: Path | None = None, ablations: Iterable[str] = ()) -> MSIQA:
    """MS-IQA of a named preset. Raises KeyError naming the presets or ablations there are.

    Raises ValueError for weights of a preset whose backbones have none.
    """
    if preset not in PRESETS:
        raise KeyError(f"MS-IQA has no preset {preset!r}; it has {', '.join(PRESETS)}")
    asked = frozenset(ablations)
    check_ablations("MS-IQA", ABLATIONS, asked)
    if weights is not None and not PRESETS[preset].weights:
        raise ValueError(f"MS-IQA {preset} learns from scratch: its backbones have no weights")
    return MSIQA(PRESETS[preset], weights, asked)


def _halve(channels: int, norm: bool) -> nn.Module:
    if not norm:
        return nn.Conv2d(channels, channels // 2, 1)
    return nn.Sequential(
        nn.Conv2d(channels, channels // 2, 1, bias=False), nn.BatchNorm2d(channels // 2)
    )


def _hidden(channels: int, hidden: int, dropout: float) -> tuple[nn.Module, ...]:
    return nn.Linear(channels, hidden), nn.LeakyReLU(0.01), nn.Dropout(dropout)
