"""Learning scores together with what they are made of: the severity of every kind of damage.

A score alone says little of a picture: a low one may be noise or a ghost. So, while it is trained,
MIQANet also answers how severe each of the recipe's degradations is (0…1), from the features that
its decoders read. The layers that answer are the trainer's own and are left out of the bundle.

Order within a batch may count beside the error: 1 − r, Pearson's r of scores and targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.miqanet import MIQANet
from models.networks.network import Network
from models.render import Float
from trainer.datasets import SimulatedSet
from trainer.losses import Batch, Supervised

WIDTH = 96
"""Channels of what answers for each branch."""


class ByKind(Supervised):
    """The network's loss, with `severities` times the squared error of all kinds' severities and
    `order` times 1 − r.

    A batch's scores are `[B, 1 + K]`: the score, then K severities. backbone_rate: what the CNN
    learns at, on its published weights; None, as the rest. Raises ValueError for a network
    without both branches.
    """

    def __init__(
        self,
        network: Network,
        kinds: int,
        severities: float,
        order: float,
        backbone_rate: float | None = None,
    ) -> None:
        super().__init__(network)
        if not isinstance(network, MIQANet) or network.cnn is None or network.preset.swin is None:
            raise ValueError("fit.severities is for MIQANet with both of its branches")
        self.severities, self.order, self.backbone_rate = severities, order, backbone_rate
        self.answer = Answer(network, kinds)

    def __call__(self, forward: Callable[[Tensor], Tensor], batch: Batch, step: int) -> Tensor:  # noqa: ARG002
        scores, severities = batch.scores[:, 0], batch.scores[:, 1:]
        raw = forward(batch.pictures).float()
        targets = self.network.targets(scores)
        told: Tensor = self.answer()
        squared = (told - severities).square().sum(dim=1).mean()
        loss: Tensor = self.network.loss(raw, targets) + self.severities * squared
        return loss + self.order * (1 - _correlation(raw, targets))

    def groups(self) -> list[dict[str, Any]]:
        network = self.network
        assert isinstance(network, MIQANet)
        backbone = {id(one) for one in network.cnn.parameters()}
        learning = [one for one in network.parameters() if one.requires_grad]
        cnn = [one for one in learning if id(one) in backbone]
        others = [one for one in learning if id(one) not in backbone]
        slow = {} if self.backbone_rate is None else {"lr": self.backbone_rate}
        return [{"params": others + list(self.answer.parameters())}, {"params": cnn, **slow}]

    def to(self, device: torch.device) -> None:
        self.answer.to(device)

    def state_dict(self) -> dict[str, Any]:
        return {"answer": self.answer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.answer.load_state_dict(state["answer"])


class Answer(nn.Module):
    """Severities `[B, K]` from what the decoders of the network's last forward pass read.

    Each branch's features `[B, C, h, w]` are mixed, then their mean and their largest over the
    patches answer together: noise is everywhere, a spike's stripes or a wrapped edge are not.
    """

    def __init__(self, network: MIQANet, kinds: int) -> None:
        super().__init__()
        self._read: dict[str, Tensor] = {}
        widths = {
            "cnn": network.preset.aligned,
            "swin": sum(network.swin.feature_info.channels()),
        }
        self.mix = nn.ModuleDict({name: nn.Conv2d(C, WIDTH, 1) for name, C in widths.items()})
        self.last = nn.Linear(4 * WIDTH, kinds)
        decoders = {"cnn": network.cnn_decoder, "swin": network.swin_decoder}
        for name, decoder in decoders.items():
            decoder.register_forward_pre_hook(self._reader(name))

    def forward(self) -> Tensor:
        pooled = []
        for name, mix in self.mix.items():
            mixed = functional.relu(mix(self._read[name].float()))
            pooled += [mixed.mean(dim=(-2, -1)), mixed.amax(dim=(-2, -1))]
        answered: Tensor = self.last(torch.cat(pooled, dim=1))
        return answered

    def _reader(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def read(_: nn.Module, features: tuple[Tensor, ...]) -> None:
            self._read[name] = features[0]

        return read


def labels(data: SimulatedSet, kinds: Sequence[str]) -> Float:
    """`[n, 1 + K]`: every picture's score, then its severity of each kind, 0 where it has none."""
    severities = [[entry.parts.get(kind, 0.0) for kind in kinds] for entry in data.entries]
    return np.concatenate([data.targets[:, None], np.array(severities, np.float32)], axis=1)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(), b - b.mean()
    r: Tensor = (a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-6)
    return r
