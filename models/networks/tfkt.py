"""TFKT: a CNN that learned natural distortions, connected to a Swin Transformer.

Source: Rifa et al., Task-Focused Knowledge Transfer from Natural Images for CT Image Quality
Assessment, SPIE Medical Imaging 2025: EfficientNet F, connector C, Swin Transformer S in its
schematic diagram, and the authors' public code where the poster is silent. Shapes at preset
`paper`:

- The picture `[B, 1, 512, 512]` is stretched to 0…1 by its own minimum and maximum.
- F: EfficientNetV2-L with a one-channel stem → pooled features `[B, 1280]`.
- C: a linear layer 1280 → 4096, reshaped to a map `[B, 1, 64, 64]`.
- S: Swin V2-B with a one-channel 4×4 stem reads that map: 16×16 tokens → 1 score.
- Phase 1 trains F alone on natural images (`Phase1`), phase 2 all of it. MSE in both.

Where the published code differs: one of its forward paths feeds the picture, not the connector's
map, to S, so that F and C are dead; `tests/models/test_models_tfkt.py` builds that too, and shows
it failing.

What poster and code leave open, and what was chosen here:

- Swin V2-B is timm's of window 8: of its windows 8, 12, 16 and 24 the one that 16×16 tokens
  divide into, and stage 1 shifts. Later stages have 8×8, 4×4, 2×2 tokens: timm's window shrinks
  with them, to the whole of the map from stage 2 on.
- The connector is linear: no activation, no norm. S's own patch norm takes what scale it has.
- The number regressed is the score itself, 0–4 (phase 1: MOS 1–5), as the poster's ranges are.
- A flat picture is stretched to zeros.
- In phase 1 F has a linear head of its own, 1280 → 1, that phase 2 drops: F is trained "to
  predict the MOS scores", and what is transferred is F.
- One channel: KADID's colour pictures are to be drawn grey, so that one stem serves both phases.
- `frozen-first` (the poster's "frozen F"): F's parameters and its batch statistics stay as phase 1
  left them; C and S learn. "w/o pretraining phase" is phase 2 without a phase 1, no other network.
- There are no patch scores, so no map is served.

Preset `compact`: EfficientNet-Lite0 (batch norm, no squeeze-excitation; its published weights
install from a package index) at 256², a 32×32 map, and a Swin V2 of three stages, half as wide as
Swin V2-T, 8×8 tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from models.networks.backbone import backbone
from models.networks.network import Network, check_ablations

ABLATIONS = ("frozen-first",)

FLAT = 1e-6
"""A picture whose values span less than this is flat, not stretched."""


@dataclass(frozen=True)
class Preset:
    """Sizes of one TFKT.

    first: the timm CNN F; connected: side of the connector's map; second, second_options: the
    timm Swin V2 S, and what it is built with; second_weights: S can start from published weights.
    """

    side: int
    first: str
    connected: int
    second: str
    second_options: dict[str, Any] = field(default_factory=dict)
    second_weights: bool = True
    channels: int = 1
    highest: float = 4.0


PRESETS = {
    "paper": Preset(
        side=512,
        first="tf_efficientnetv2_l",
        connected=64,
        second="swinv2_base_window8_256",
    ),
    "compact": Preset(
        side=256,
        first="tf_efficientnet_lite0",
        connected=32,
        second="swinv2_tiny_window8_256",
        second_options={"embed_dim": 48, "depths": (2, 2, 2), "num_heads": (2, 4, 8)},
        second_weights=False,
    ),
}


class TFKT(Network):
    """The network. forward(pictures `[B, 1, S, S]`, 0…1) → score `[B]`."""

    def __init__(
        self,
        preset: Preset,
        weights: Path | None = None,
        ablations: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.preset: Preset = preset
        first: Any = backbone(preset.first, weights, in_chans=preset.channels, num_classes=0)
        second: Any = backbone(
            preset.second,
            weights if preset.second_weights else None,
            in_chans=1,
            num_classes=1,
            img_size=preset.connected,
            **preset.second_options,
        )
        self.first = first
        self.connector = nn.Linear(first.num_features, preset.connected**2)
        self.second = second
        self.frozen = "frozen-first" in ablations
        self.train()

    def train(self, mode: bool = True) -> Self:
        """As torch has it; a frozen F takes no gradient, nor do its batch norms learn."""
        super().train(mode)
        self.first.requires_grad_(not self.frozen)
        if self.frozen:
            self.first.eval()
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        score: Tensor = self.second(self.connect(pictures))
        return score.squeeze(1)

    def connect(self, pictures: Tensor) -> Tensor:
        """The connector's map `[B, 1, h, h]`: all that S sees of the pictures."""
        side = self.preset.connected
        connected: Tensor = self.connector(self.first(stretched(pictures)))
        return connected.reshape(-1, 1, side, side)

    def targets(self, scores: Tensor) -> Tensor:
        return scores

    def estimate(self, raw: Tensor) -> Tensor:
        return raw

    def phase_1(self, highest: float = 5.0) -> Phase1:
        """The network of phase 1, which trains this network's own F in place."""
        return Phase1(self, highest)


class Phase1(Network):
    """F with a linear head: forward(pictures `[B, 1, S, S]`, 0…1) → mean opinion score `[B]`.

    F is shared with the network it is taken from, so phase 2 goes on with what this learned.
    """

    def __init__(self, network: TFKT, highest: float) -> None:
        super().__init__()
        self.preset: Preset = replace(network.preset, highest=highest)
        self.first = network.first
        self.head = nn.Linear(network.first.num_features, 1)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """As torch has it; an F that phase 2 freezes learns here."""
        super().train(mode)
        self.first.requires_grad_(True)
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        score: Tensor = self.head(self.first(stretched(pictures)))
        return score.squeeze(1)

    def targets(self, scores: Tensor) -> Tensor:
        return scores

    def estimate(self, raw: Tensor) -> Tensor:
        return raw


def stretched(pictures: Tensor) -> Tensor:
    """Pictures `[B, C, S, S]` stretched to 0…1, each by its own minimum and maximum."""
    low = pictures.amin(dim=(1, 2, 3), keepdim=True)
    high = pictures.amax(dim=(1, 2, 3), keepdim=True)
    return (pictures - low) / (high - low).clamp_min(FLAT)


def build(preset: str, *, weights: Path | None = None, ablations: Iterable[str] = ()) -> TFKT:
    """TFKT of a named preset. Raises KeyError naming the presets or ablations there are."""
    if preset not in PRESETS:
        raise KeyError(f"TFKT has no preset {preset!r}; it has {', '.join(PRESETS)}")
    asked = frozenset(ablations)
    check_ablations("TFKT", ABLATIONS, asked)
    return TFKT(PRESETS[preset], weights, asked)
