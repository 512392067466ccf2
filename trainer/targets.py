"""The score a degraded picture is taught: full-reference metrics against the clean one, 0–4.

No radiologist scored these pictures. What stands in is an ensemble of full-reference metrics of
`piq`, chosen for how closely they follow radiologists elsewhere: GMSD, IW-SSIM, VIF on MR
(MIQANet paper, Table II) and HaarPSI, VSI, GMSD, MDSI, VIFp on CT and fused PET/CT. Each metric is
turned into a score by straight lines between five knots, its medians over clean slices at noise
severities 0, ¼, ½, ¾ and 1, which are given 4, 3, 2, 1 and 0; severities are geometric in dose, so
a score is one equal step of ln(dose) of quantum noise. The target is the mean of the metrics'
scores.
Both pictures are drawn by `models.render`, so what the window hides costs nothing: the knots are
those of the soft-tissue window, and lung and bone pictures are measured with them too.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import piq
import torch
from torch.nn.functional import avg_pool2d

from trainer.projection import Float
from trainer.recipe import TargetMetric

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""

COARSE = 4


def haarpsi_coarse(x: torch.Tensor, y: torch.Tensor, data_range: float) -> torch.Tensor:
    """HaarPSI of pictures `[B, C, H, W]` averaged over COARSE×COARSE pixels."""
    return torch.as_tensor(
        piq.haarpsi(avg_pool2d(x, COARSE), avg_pool2d(y, COARSE), data_range=data_range)
    )


def largest_errors(x: torch.Tensor, y: torch.Tensor, data_range: float) -> torch.Tensor:
    """The 99.9th percentile of |Δ brightness| over pixels, as a share of the range."""
    difference = x - y
    if difference.shape[1] == len(LUMA):
        difference = torch.tensordot(torch.tensor(LUMA), difference, dims=([0], [1]))
    return torch.quantile(difference.abs().flatten(), 0.999) / data_range


def common_errors(x: torch.Tensor, y: torch.Tensor, data_range: float) -> torch.Tensor:
    """The 99th percentile of |Δ| over pixels, of each the channel that differs most."""
    return torch.quantile((x - y).abs().amax(dim=1).flatten(), 0.99) / data_range


METRICS = {
    "common-errors": common_errors,
    "gmsd": piq.gmsd,
    "haarpsi": piq.haarpsi,
    "haarpsi-coarse": haarpsi_coarse,
    "iw-ssim": piq.information_weighted_ssim,
    "largest-errors": largest_errors,
    "mdsi": piq.mdsi,
    "vif-p": piq.vif_p,
    "vsi": piq.vsi,
}
KNOT_SCORES = (4.0, 3.0, 2.0, 1.0, 0.0)
KNOT_SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)


def measure(picture: Float, clean: Float, names: Sequence[str]) -> dict[str, float]:
    """The metrics of one drawn picture `[C, H, W]`, 0…1, against the clean one.

    Raises ValueError naming a metric that is not known.
    """
    unknown = set(names) - set(METRICS)
    if unknown:
        raise ValueError(f"unknown metrics {sorted(unknown)}; known: {', '.join(METRICS)}")
    # Resampling leaves a rounding error beyond white, which piq refuses.
    x, y = (torch.from_numpy(one)[None].clamp(0, 1) for one in (picture, clean))
    with warnings.catch_warnings():
        # Grey pictures are what MDSI and VSI warn about, at every call.
        warnings.filterwarnings("ignore", message="The original (MDSI|VSI) supports only RGB")
        return {name: float(METRICS[name](x, y, data_range=1.0)) for name in names}


def score(values: Mapping[str, float], targets: Sequence[TargetMetric]) -> float:
    """The target 0–4 of measured metrics: the mean of each one's score."""
    return float(np.mean([_on_scale(values[target.name], target) for target in targets]))


def knots(values: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """A metric's knots from its values `[slices, 5]` at KNOT_SEVERITIES: the medians."""
    return tuple(float(value) for value in np.median(np.asarray(values), axis=0))


def _on_scale(value: float, target: TargetMetric) -> float:
    ascending = target.knots[0] < target.knots[-1]
    x = target.knots if ascending else target.knots[::-1]
    y = KNOT_SCORES if ascending else KNOT_SCORES[::-1]
    return float(np.interp(value, x, y))
