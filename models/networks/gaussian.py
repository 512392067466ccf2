"""Gaussian score vectors: what MD-IQA regresses instead of a number.

A score s of 0…M is K vectors of N points, each a Gaussian of its own width, peak one
(MD-IQA, equation 1). The paper puts the peak at u = s/M·N, which for s = M lies outside the N
points; here point j stands for the score j/(N−1)·M, so both ends can be told.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def points(count: int, highest: float) -> Tensor:
    """The scores `[N]` that the points stand for, 0…M."""
    return torch.linspace(0.0, highest, count)


def target_vectors(scores: Tensor, taus: Tensor, count: int, highest: float) -> Tensor:
    """Equation 1: vectors `[B, K, N]` of scores `[B]` for widths τ `[K]`."""
    j = torch.arange(count, dtype=scores.dtype, device=scores.device)
    u = scores / highest * (count - 1)
    sigma = (taus * count).to(scores)
    return torch.exp(-((j - u[:, None, None]) ** 2) / (2 * sigma[:, None] ** 2))


def peak_score(logits: Tensor, highest: float) -> Tensor:
    """Section 2.2: the score `[B]` by argmax, averaged over K vectors of `[B, K, N]`."""
    peak = logits.argmax(dim=-1).to(logits.dtype)
    return (peak / (logits.shape[-1] - 1) * highest).mean(dim=-1)


def expected_score(logits: Tensor, scores: Tensor) -> Tensor:
    """The score `[B]` by expectation, averaged over K vectors `[B, K, N]`.

    Unlike an argmax it moves smoothly with its input, and it tells slightly damaged pictures
    apart while the peak of all of them still stands at the top of the scale. A Gaussian that the
    scale's end cuts off has its expectation within: 4 is told as 3.86, 0 as 0.14.
    """
    return (logits.softmax(dim=-1) * scores).sum(dim=-1).mean(dim=-1)


def spread(logits: Tensor, scores: Tensor) -> Tensor:
    """How wide the vectors `[B, K, N]` are: root of the mean variance `[B]`, in score units.

    A network sure of itself reproduces the widths it was taught, so the least it says is about
    M·√(mean τ²); what exceeds that is doubt.
    """
    density = logits.softmax(dim=-1)
    mean = (density * scores).sum(dim=-1, keepdim=True)
    variance = (density * (scores - mean) ** 2).sum(dim=-1)
    return variance.mean(dim=-1).sqrt()


def distribution_loss(logits: Tensor, targets: Tensor, kl_weight: float) -> Tensor:
    """Equation 4, L2 + β·KL: logits `[B, K, N]` against the vectors `[B, K, N]` of equation 1.

    L2 compares the curves at their peak of one, as a mean over points; KL compares the same
    curves as densities, summed over points, mean over vectors. exp(logits − max) is the curve
    and softmax(logits) the density, so both speak of one prediction.
    """
    curve = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    l2 = F.mse_loss(curve, targets)
    density = targets / targets.sum(dim=-1, keepdim=True)
    kl = F.kl_div(
        logits.log_softmax(dim=-1).flatten(0, 1), density.flatten(0, 1), reduction="batchmean"
    )
    return l2 + kl_weight * kl
