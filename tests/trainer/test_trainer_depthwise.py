"""Depthwise convolutions with a quicker gradient: the same gradient to their input."""

from __future__ import annotations

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from trainer.depthwise import quicken


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize(("stride", "width"), [(1, 3), (1, 5), (2, 3), (2, 5)])
@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
def test_the_gradient_is_pytorchs(kind, stride: int, width: int, side: int) -> None:
    torch.manual_seed(0)
    padding = 0 if kind is Conv2dSame else width // 2
    layer = kind(4, 4, width, stride, padding, groups=4, bias=False)
    pictures = torch.randn(2, 4, side, side)
    found = []
    for quick in (False, True):
        if quick:
            quicken(layer)
        x = pictures.clone().requires_grad_()
        out = layer(x)
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
        found.append((out.detach(), x.grad))
    (plain, its), (quick_out, mine) = found
    assert torch.allclose(plain, quick_out, atol=1e-5)
    assert torch.allclose(its, mine, rtol=1e-4, atol=1e-3)


def test_only_depthwise_filters_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6))
    quicken(network)
    learning = {name for name, one in network.named_parameters() if one.requires_grad}
    assert learning == {"0.weight", "0.bias", "1.bias"}
