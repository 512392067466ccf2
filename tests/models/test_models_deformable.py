"""The sampled deformable convolution against torchvision's operator."""

import pytest
import torch
from torchvision.ops import deform_conv2d

from models.networks.deformable import DeformableConv


@pytest.mark.parametrize(("kernel", "height", "width"), [(3, 9, 12), (1, 5, 5), (5, 16, 7)])
def test_equals_torchvision(kernel: int, height: int, width: int) -> None:
    torch.manual_seed(3)
    layer = DeformableConv(4, 6, kernel).double()
    features = torch.randn(2, 4, height, width, dtype=torch.float64)
    # Offsets up to several pixels, so that many taps leave the features.
    offsets = 3 * torch.randn(2, 2 * kernel**2, height, width, dtype=torch.float64)
    expected = deform_conv2d(features, offsets, layer.weight, layer.bias, padding=kernel // 2)
    assert (layer(features, offsets) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(("kernel", "height", "width"), [(3, 9, 12), (1, 5, 5), (5, 16, 7)])
def test_gradients_equal_torchvisions(kernel: int, height: int, width: int) -> None:
    """Of the features, the offsets, the weight and the bias."""
    torch.manual_seed(5)
    layer = DeformableConv(4, 6, kernel).double()
    features = torch.randn(2, 4, height, width, dtype=torch.float64, requires_grad=True)
    offsets = 3 * torch.randn(2, 2 * kernel**2, height, width, dtype=torch.float64)
    offsets.requires_grad_()
    leaves = (features, offsets, layer.weight, layer.bias)
    upstream = torch.randn(2, 6, height, width, dtype=torch.float64)
    expected = deform_conv2d(features, offsets, layer.weight, layer.bias, padding=kernel // 2)
    theirs = torch.autograd.grad(expected, leaves, upstream)
    ours = torch.autograd.grad(layer(features, offsets), leaves, upstream)
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().max() > 0.1
        assert (a - b).abs().max() <= 1e-5


def test_without_offsets_it_is_a_convolution() -> None:
    torch.manual_seed(4)
    layer = DeformableConv(3, 2).double()
    features = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    plain = torch.nn.functional.conv2d(features, layer.weight, layer.bias, padding=1)
    moved = layer(features, torch.zeros(1, 18, 8, 8, dtype=torch.float64))
    assert (moved - plain).abs().max() <= 1e-12
