"""Deformable convolution by sampling: bilinear `grid_sample`, then products with 1×1 kernels.

Needs no torchvision operator, so it exports to ONNX GridSample, which ONNX Runtime and TensorRT
both run. Source: Dai et al., Deformable Convolutional Networks, ICCV 2017, equations 2–4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DeformableConv(nn.Module):
    """A k×k convolution whose taps are moved by learned offsets; stride 1, same size.

    forward(features `[B, C, H, W]`, offsets `[B, 2·k², H, W]`) → `[B, C_out, H, W]`. Offsets are
    in pixels, (dy, dx) for each tap in row-major order, as torchvision's `deform_conv2d` has
    them; samples outside the features are zero.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(out_channels, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, features: Tensor, offsets: Tensor) -> Tensor:
        C, H, W = features.shape[1:]
        taps = self.kernel**2
        rows = torch.arange(H, device=features.device, dtype=features.dtype)
        columns = torch.arange(W, device=features.device, dtype=features.dtype)
        shift = torch.arange(self.kernel, device=features.device, dtype=features.dtype)
        shift = shift - (self.kernel - 1) / 2
        tap_y = shift.repeat_interleave(self.kernel).view(1, taps, 1, 1)
        tap_x = shift.repeat(self.kernel).view(1, taps, 1, 1)
        # −1 because the batch is dynamic in the exported graph; all other sizes are constants.
        moved = offsets.reshape(-1, taps, 2, H, W)
        y = moved[:, :, 0] + rows.view(1, 1, H, 1) + tap_y
        x = moved[:, :, 1] + columns.view(1, 1, 1, W) + tap_x
        grid = torch.stack([(2 * x + 1) / W - 1, (2 * y + 1) / H - 1], dim=-1)
        # One call for all taps: they lie below each other in a tall sampling grid.
        sampled = F.grid_sample(
            features,
            grid.reshape(-1, taps * H, W, 2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        stacked = sampled.reshape(-1, C, taps, H, W).reshape(-1, C * taps, H, W)
        weight = self.weight.reshape(-1, C * taps, 1, 1)
        return F.conv2d(stacked, weight, self.bias)
