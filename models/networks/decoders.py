"""MIQANet's two decoders, one tailored to each kind of features (figure 5)."""

from __future__ import annotations

from timm.models.resnet import BasicBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn


class ConvolutionalDecoder(nn.Module):
    """Figure 5's pathway for CNN features: `[B, C, h, w]` → score and attention, both `[B, h, w]`.

    The attention is still before its sigmoid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(BasicBlock(channels, channels), BasicBlock(channels, channels))
        self.score, self.attention = _projections(channels)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        decoded = self.blocks(features).permute(0, 2, 3, 1)
        return self.score(decoded).squeeze(-1), self.attention(decoded).squeeze(-1)


class TransformerDecoder(nn.Module):
    """Figure 5's pathway for Swin features: `[B, C, h, w]` → score and attention, both `[B, h, w]`.

    The patches are tokens that attend to one another; the attention is before its sigmoid.
    """

    def __init__(self, channels: int, embedded: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, embedded))
        self.blocks = nn.Sequential(
            *(Block(embedded, heads, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(2))
        )
        self.norm = nn.LayerNorm(embedded)
        self.score, self.attention = _projections(embedded)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        h, w = features.shape[-2:]
        tokens = self.embed(features.flatten(2).transpose(1, 2))
        decoded = self.norm(self.blocks(tokens))
        score, attention = self.score(decoded), self.attention(decoded)
        return score.reshape(-1, h, w), attention.reshape(-1, h, w)


def _projections(channels: int) -> tuple[nn.Linear, nn.Linear]:
    """Score and attention; the score starts around the middle of its scale, 0…1."""
    score, attention = nn.Linear(channels, 1), nn.Linear(channels, 1)
    nn.init.normal_(score.weight, std=0.005)
    nn.init.constant_(score.bias, 0.5)
    return score, attention
