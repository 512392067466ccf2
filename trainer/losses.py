"""Losses over a batch: what a training asks of a network, beyond the network's own loss.

Source: the MD-IQA paper, section 2.4, equations 3 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.networks.network import Network
from trainer.settings import Table

RAMP = 5.0
"""Steepness of the warm-up: exp(−5·(1 − t/T)²), as consistency losses are ramped up since
Laine and Aila, Temporal Ensembling, ICLR 2017."""


@dataclass(frozen=True)
class Batch:
    """Pictures `[B, C, S, S]` with scores `[B]`; others, with pseudo scores, where there are."""

    pictures: Tensor
    scores: Tensor
    other_pictures: Tensor | None = None
    pseudo_scores: Tensor | None = None


class Supervised:
    """The network's own loss against the scores (equation 4 for MD-IQA, else MSE)."""

    needs_others = False

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(
        self,
        forward: Callable[[Tensor], Tensor],
        batch: Batch,
        step: int,  # noqa: ARG002 - the semi-supervised loss warms up by it
    ) -> Tensor:
        """The loss `[]` of a batch at an optimiser step.

        forward: the network as Fabric runs it (precision, several devices).
        """
        return self.network.loss(forward(batch.pictures), self.network.targets(batch.scores))

    def groups(self) -> list[dict[str, Any]]:
        """What learns, in groups as torch's optimisers take them, some with a rate of their own."""
        return [{"params": [one for one in self.network.parameters() if one.requires_grad]}]

    def to(self, device: torch.device) -> None:
        """Move what it holds beside the network to the network's device."""

    def after_step(self) -> None:
        """Called once the optimiser has stepped."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to keep of it."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""


class SemiSupervision(Table):
    """Weights of equation 3, as the paper states them.

    supervised: λ1; pseudo: λ2; λ3 passes λ2 after crosses_after steps and ends at 1; ema_decay: α.
    """

    supervised: float = 1.0
    pseudo: float = 0.1
    crosses_after: int = 400
    ema_decay: float = 0.997

    def consistency(self, step: int) -> float:
        """λ3 at a step: RAMP's curve, its length T such that it crosses λ2 where it should.

        For the stated 400 steps and 0.1, T is 1245: about the end of 30 epochs of 43 batches.
        """
        length = self.crosses_after / (1 - math.sqrt(-math.log(self.pseudo) / RAMP))
        return math.exp(-RAMP * (1 - min(step / length, 1.0)) ** 2)


class MeanTeacher(Supervised):
    """Equation 3: supervised, pseudo-labelled and consistent with the mean of earlier weights.

    Labelled and other pictures go through the network as one batch, so its batch statistics are
    those of both. The teacher (Θ_EMA) answers as in evaluation, without dropout.
    """

    needs_others = True

    def __init__(self, network: Network, weights: SemiSupervision) -> None:
        super().__init__(network)
        self.weights = weights
        averaging: Any = get_ema_multi_avg_fn(weights.ema_decay)  # type: ignore[no-untyped-call]
        self.teacher = AveragedModel(network, multi_avg_fn=averaging).eval()

    def __call__(self, forward: Callable[[Tensor], Tensor], batch: Batch, step: int) -> Tensor:
        if batch.other_pictures is None or batch.pseudo_scores is None:
            raise ValueError("semi-supervised training needs pseudo-labelled pictures")
        raw = forward(torch.cat([batch.pictures, batch.other_pictures]))
        own, other = raw[: len(batch.pictures)], raw[len(batch.pictures) :]
        with torch.no_grad():
            taught = self.teacher(batch.other_pictures)
        network, weights = self.network, self.weights
        return (
            weights.supervised * network.loss(own, network.targets(batch.scores))
            + weights.pseudo * network.loss(other, network.targets(batch.pseudo_scores))
            + weights.consistency(step) * functional.mse_loss(_curves(other), _curves(taught))
        )

    def to(self, device: torch.device) -> None:
        self.teacher.to(device)

    def after_step(self) -> None:
        self.teacher.update_parameters(self.network)

    def state_dict(self) -> dict[str, Any]:
        return {"teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.teacher.load_state_dict(state["teacher"])


def _curves(raw: Tensor) -> Tensor:
    """What L2 compares: of vectors `[B, K, N]` the curves of peak one, of numbers `[B]` those."""
    if raw.ndim < 3:
        return raw
    return (raw - raw.amax(dim=-1, keepdim=True)).exp()
