"""Weighing patches: Σ w·f / Σ w, as MD-IQA's equation 2 and MIQANet's equation 6 have it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def normalised_weights(attention: Tensor) -> Tensor:
    """w / Σ w over the patches for w = sigmoid(attention) `[B, C, h, w]`, of the same shape.

    Worked out in the logarithm: where a channel finds every patch beside the point, all its
    sigmoids underflow to zero at once, and zero over zero is no score.
    """
    log_sigmoid = -F.softplus(-attention)
    return log_sigmoid.flatten(-2).softmax(dim=-1).reshape(attention.shape)
