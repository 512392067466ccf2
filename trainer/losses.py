"""The supervised loss of MD-IQA, equation 4: L2 + β·KL over the Gaussian vectors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def distribution_loss(logits: Tensor, targets: Tensor, kl_weight: float) -> Tensor:
    """Loss of logits `[B, K, N]` against the vectors `[B, K, N]` of equation 1.

    L2 compares the curves at their peak of one, as a mean over points; KL compares the same
    curves as densities, summed over points, mean over vectors. exp(logits − max) is the curve
    and softmax(logits) the density, so both speak of one prediction.
    """
    curve = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    l2 = functional.mse_loss(curve, targets)
    density = targets / targets.sum(dim=-1, keepdim=True)
    kl = functional.kl_div(
        logits.log_softmax(dim=-1).flatten(0, 1), density.flatten(0, 1), reduction="batchmean"
    )
    return l2 + kl_weight * kl
