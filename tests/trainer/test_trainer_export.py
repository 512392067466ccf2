"""Folding batch norms and rounding weights, before any graph is written."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from models.networks.network import Network
from trainer.export import ExportError, fuse_norms, round_weights

PICTURES = np.random.default_rng(3).random((2, 1, 8, 8), dtype=np.float32)


class Small(Network):
    """Two convolutions with norms, named so that their order of registration misleads."""

    def __init__(self, tapped: bool = False) -> None:
        super().__init__()
        self.preset = SimpleNamespace(channels=1, side=8, highest=4.0)
        self.tapped = tapped
        self.second_norm = BatchNormAct2d(4, act_layer=nn.LeakyReLU)
        self.first = nn.Conv2d(1, 4, 3, bias=False)
        self.second = nn.Conv2d(4, 4, 3)
        self.first_norm = nn.BatchNorm2d(4)
        for norm in (self.first_norm, self.second_norm):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)

    def forward(self, pictures: Tensor) -> Tensor:
        plain = self.first(pictures)
        normed = self.second_norm(self.second(self.first_norm(plain)))
        total = normed.mean(dim=(1, 2, 3))
        return total + plain.mean(dim=(1, 2, 3)) if self.tapped else total

    def targets(self, scores: Tensor) -> Tensor:
        return scores

    def estimate(self, raw: Tensor) -> Tensor:
        return 2 + raw / 10


def outputs(network: Network) -> Tensor:
    with torch.no_grad():
        result: Tensor = network.served()(torch.from_numpy(PICTURES))[0]
    return result


def test_norms_are_folded_by_what_feeds_them() -> None:
    torch.manual_seed(0)
    network = Small().eval()
    before = outputs(network)
    fuse_norms(network, PICTURES)
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert isinstance(network.second_norm, nn.LeakyReLU)  # the activation that its norm carried
    assert torch.allclose(outputs(network), before, atol=1e-6)


def test_a_convolution_that_feeds_more_than_its_norm_is_found_out() -> None:
    torch.manual_seed(1)
    with pytest.raises(ExportError, match="feeds more than its norm"):
        fuse_norms(Small(tapped=True).eval(), PICTURES)


def test_kernels_are_rounded_and_vectors_are_not() -> None:
    torch.manual_seed(2)
    network = Small()
    bias = network.second.bias.detach().clone()
    round_weights(network)
    kernel = network.second.weight.detach()
    assert torch.equal(kernel, kernel.half().float())
    assert torch.equal(network.second.bias, bias)
    assert not torch.equal(bias, bias.half().float())
