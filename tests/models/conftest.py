"""What a network's tests share: which of its parts learn, and whether its graph is the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.networks.network import Network
from trainer import export
from trainer.evaluation import session


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


@pytest.fixture
def exported_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Network], dict[str, float]]:
    """Largest difference, by output, of ONNX Runtime from PyTorch, in batches of one and three."""
    for name in ("torch", "torch.__trace", "onnxscript", "onnx_ir"):
        # torch.export traces itself at length once a root handler listens, as pytest's does.
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)

    def of(network: Network) -> dict[str, float]:
        preset = network.preset
        pictures = np.random.default_rng(2).random(
            (3, preset.channels, preset.side, preset.side), dtype=np.float32
        )
        _settle_norms(network, torch.from_numpy(pictures))
        path = tmp_path / "model.onnx"
        expected = export.export_graph(network, pictures, path)
        running = session(path)
        assert tuple(output.name for output in running.get_outputs()) == network.served_outputs
        together = running.run(None, {"input": pictures})
        alone = running.run(None, {"input": pictures[:1]})
        return {
            name: max(
                float(np.abs(together[i] - expected[name]).max()),
                float(np.abs(alone[i] - expected[name][:1]).max()),
            )
            for i, name in enumerate(network.served_outputs)
        }

    return of


def _settle_norms(network: torch.nn.Module, pictures: torch.Tensor) -> None:
    """Batch statistics of these very pictures: a deep net that has none yet has no scale either."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(pictures)
    network.eval()
