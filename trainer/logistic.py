"""The five-parameter logistic that some protocols fit before PLCC and RMSE.

f(x) = β₁·(½ − 1/(1 + exp(β₂·(x − β₃)))) + β₄·x + β₅ (Sheikh, Sabir, Bovik, IEEE TIP 15, 2006,
equation 6; MIQANet's protocol). It bends the scores to the targets it is judged by, so it is
never applied unless asked for, and a figure taken after it says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import expit

Values = npt.NDArray[np.floating]

WIDEST, STEEPEST, FARTHEST = 50.0, 30.0, 5.0
"""Bounds of β₁, β₄, β₅, of β₂ and of β₃, in standard deviations."""


@dataclass(frozen=True)
class Logistic:
    """The fitted curve; call it with scores `[n]` for mapped scores `[n]`."""

    betas: tuple[float, float, float, float, float]

    def __call__(self, scores: Values) -> npt.NDArray[np.float64]:
        return _curve(np.asarray(scores, float), *self.betas)


def fit_logistic(scores: Values, targets: Values) -> Logistic:
    """The logistic of least squares from scores `[n]` to targets `[n]`.

    Fitted on both axes in standard deviations, within bounds wide enough for any curve the data
    can tell apart: where they cannot (a parabola, a straight line), the parameters would run away
    while the curve stands still. Raises ValueError for fewer than six pictures, which five
    parameters would pass through.
    """
    if len(scores) < 6:
        raise ValueError(f"{len(scores)} pictures do not determine five parameters; leave it out")
    x, y = np.asarray(scores, float), np.asarray(targets, float)
    (x_mean, x_spread), (y_mean, y_spread) = (
        (float(values.mean()), float(values.std()) or 1.0) for values in (x, y)
    )
    u, v = (x - x_mean) / x_spread, (y - y_mean) / y_spread
    rising = 1.0 if np.corrcoef(u, v)[0, 1] >= 0 else -1.0
    found = least_squares(
        lambda betas: _curve(u, *betas) - v,
        (3.0, rising, 0.0, 0.0, 0.0),
        bounds=([-WIDEST, -STEEPEST, -FARTHEST, -WIDEST, -WIDEST],
                [WIDEST, STEEPEST, FARTHEST, WIDEST, WIDEST]),
    )  # fmt: skip
    b1, b2, b3, b4, b5 = (float(beta) for beta in found.x)
    return Logistic(
        (
            b1 * y_spread,
            b2 / x_spread,
            x_mean + b3 * x_spread,
            b4 * y_spread / x_spread,
            y_mean + y_spread * (b5 - b4 * x_mean / x_spread),
        )
    )


def _curve(
    x: npt.NDArray[np.float64], b1: float, b2: float, b3: float, b4: float, b5: float
) -> npt.NDArray[np.float64]:
    # ½ − 1/(1 + e^t) = expit(t) − ½, without the overflow
    return np.asarray(b1 * (expit(b2 * (x - b3)) - 0.5) + b4 * x + b5, float)
