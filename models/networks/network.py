"""The network: what the trainer's loop and the export ask of every architecture.

A picture `[C, S, S]` of values 0…1, as `models.render` draws it, becomes a raw output, whatever
the architecture regresses: a number, K vectors, patch scores. Whoever trains or exports needs to
know nothing of it::

    raw = network(pictures)                                   # [B, C, S, S] → raw output
    loss = network.loss(raw, network.targets(scores))         # scores [B], 0…highest
    estimates = network.estimate(raw)                         # [B], as the paper evaluates
    onnx_outputs = network.served()(pictures)                 # the tuple served_outputs names

Scores are in the units of the radiologists' scale, 0…`preset.highest`, on both sides; scaling to
what a paper regresses (0…1, vectors) is the network's own affair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F


class Preset(Protocol):
    """What every architecture's preset tells: the picture's channels and side, the top score."""

    @property
    def channels(self) -> int: ...
    @property
    def side(self) -> int: ...
    @property
    def highest(self) -> float: ...


class Network(nn.Module, ABC):
    """One architecture at one preset.

    served_outputs: names of the tensors that `served()` returns, in order: `score [B]`, and where
    the network has them `map [B, h, w]` and `spread [B]`, all in score units, and `weight
    [B, h, w]`, how much each patch counts.
    """

    preset: Preset
    served_outputs: tuple[str, ...] = ("score",)

    @abstractmethod
    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures `[B, C, S, S]`, 0…1 → the raw output, its first dimension B."""

    @abstractmethod
    def targets(self, scores: Tensor) -> Tensor:
        """What the raw output of pictures with the scores `[B]` should be."""

    def loss(self, raw: Tensor, targets: Tensor) -> Tensor:
        """The loss `[]` that the paper trains with: mean squared error unless it says otherwise."""
        return F.mse_loss(raw, targets)

    @abstractmethod
    def estimate(self, raw: Tensor) -> Tensor:
        """Scores `[B]` of a raw output, as the paper evaluates: not clipped to the scale."""

    def served(self) -> nn.Module:
        """What is exported: pictures → the tuple that `served_outputs` names.

        By default the estimate, clipped to 0…highest, for a report must not leave its own scale.
        """
        return ServedScore(self)


class ServedScore(nn.Module):
    """Pictures `[B, C, S, S]` → (score `[B]`,) of a network that has nothing more to tell."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        estimate = self.network.estimate(self.network(pictures))
        return (estimate.clamp(0.0, self.network.preset.highest),)


def check_ablations(architecture: str, known: tuple[str, ...], asked: frozenset[str]) -> None:
    """Raises KeyError naming the ablations there are, where one that is asked for is not."""
    unknown = sorted(asked - set(known))
    if unknown:
        raise KeyError(
            f"{architecture} has no ablation {', '.join(unknown)}; it has {', '.join(known)}"
        )
