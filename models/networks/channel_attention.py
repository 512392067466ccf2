"""Adaptive graph channel attention: channels as the nodes of a small learned graph.

Source: Xiang et al., AGCA: An Adaptive Graph Channel Attention Module for Steel Surface Defect
Detection (2023), as MS-IQA applies it to each level of its features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ADJACENCY_AT_START = 1e-6
"""What A2 starts at: no channel knows another, until training says so."""


class GraphChannelAttention(nn.Module):
    """features `[B, C, H, W]` → the same, each channel times a gate of 0…1.

    The channels' means, squeezed to y `[B, C/ratio]`, are nodes of a graph. Its adjacency is
    A = I⊙A1 + A2: A1, a softmax over the nodes of this very picture, on the diagonal; A2, a
    learned matrix, the same for all pictures. y·A, scaled, rectified and widened to C, is the
    gate's logit.
    """

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__()
        nodes = channels // ratio
        self.squeeze = nn.Conv2d(channels, nodes, 1)
        # Kernels of one over the row of nodes: a learned scalar each, as published.
        self.temper = nn.Conv1d(1, 1, 1, bias=False)
        self.scale = nn.Conv1d(1, 1, 1, bias=False)
        self.adjacency = nn.Parameter(torch.full((nodes, nodes), ADJACENCY_AT_START))
        self.widen = nn.Conv2d(nodes, channels, 1)
        self.nodes = nodes

    def forward(self, features: Tensor) -> Tensor:
        return features * self.gate(features)

    def gate(self, features: Tensor) -> Tensor:
        """The gate `[B, C, 1, 1]`, 0…1."""
        y = self.squeeze(features.mean(dim=(2, 3), keepdim=True)).reshape(-1, 1, self.nodes)
        own = self.temper(y).softmax(dim=-1)
        # y·(I⊙A1 + A2), without laying A1 out as a diagonal matrix a picture.
        passed = y * own + y @ self.adjacency
        passed = self.scale(passed).relu().reshape(-1, self.nodes, 1, 1)
        logit: Tensor = self.widen(passed)
        return logit.sigmoid()
