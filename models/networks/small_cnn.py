"""The small convolutional backbones that no library carries: SimpleCNN and LeNet.

Both classify (or score) a small patch with fully connected layers in their papers. Here they are
backbones: the fully connected regression is left to the decoder, and what remains is applied to
the whole picture, so that each cell of the result describes one patch of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SimpleCNN(nn.Module):
    """One layer of 50 7×7 kernels, then the largest and the smallest answer of each patch.

    forward(pictures `[B, C, H, W]`) → one map `[B, 100, H/16, W/16]`. Source: Kang et al.,
    Convolutional neural networks for no-reference image quality assessment, CVPR 2014, Figure 1:
    no activation after the convolution, min beside max pooling. Kang pools a 32×32 patch down to
    one cell; patches of 16 give the grid that the other backbones have.
    """

    channels = (100,)
    reductions = (16,)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 50, 7, padding=3)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        answers = self.conv(pictures)
        largest, smallest = F.max_pool2d(answers, 16), -F.max_pool2d(-answers, 16)
        return [torch.cat([largest, smallest], dim=1)]


class LeNet(nn.Module):
    """LeNet-5's convolutions C1, C3 and C5 with its average pooling between them.

    forward(pictures `[B, C, H, W]`) → maps `[B, 6, H/2, W/2]`, `[B, 16, H/4, W/4]`,
    `[B, 120, H/4, W/4]`. Source: LeCun et al., Gradient-based learning applied to document
    recognition, 1998, Figure 2; ReLU for its scaled tanh, padding so that sizes halve exactly.
    """

    channels = (6, 16, 120)
    reductions = (2, 4, 4)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.c3 = nn.Conv2d(6, 16, 5, padding=2)
        self.c5 = nn.Conv2d(16, 120, 5, padding=2)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        s2 = F.avg_pool2d(F.relu(self.c1(pictures)), 2)
        s4 = F.avg_pool2d(F.relu(self.c3(s2)), 2)
        return [s2, s4, F.relu(self.c5(s4))]
