"""What a network's tests share: which of its parts learn, and whether its graph is the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch


@pytest.fixture(autouse=True)
def two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture
def gradients() -> Callable[..., dict[str, float]]:
    """Largest gradient of every parameter, by name, of the second step on random pictures.

    The second, because timm starts the last norm of each residual block at zero: what lies before
    it moves from then on. No gradient at all counts as zero.
    """

    def of(network: torch.nn.Module, scores: torch.Tensor) -> dict[str, float]:
        torch.manual_seed(1)
        preset = network.preset
        pictures = torch.rand(len(scores), preset.channels, preset.side, preset.side)
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-2)
        network.train()
        for _ in range(2):
            optimiser.zero_grad()
            network.loss(network(pictures), network.targets(scores)).backward()
            optimiser.step()
        return {
            name: 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
            for name, parameter in network.named_parameters()
        }

    return of
