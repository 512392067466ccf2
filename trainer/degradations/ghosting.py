"""MR ghosts: something pulsates or breathes while the lines of k-space are read."""

from __future__ import annotations

import numpy as np

from trainer.degradations.contract import degradation, refuse_negative
from trainer.degradations.kspace import along_axis, lines, refuse_axis, to_kspace, to_magnitude
from trainer.projection import Float

LARGEST_PHASE_RAD = 0.6


@degradation
def ghosting(
    image: Float,
    severity: float,
    rng: np.random.Generator,
    *,
    phase_axis: int = 0,
    ghosts: int = 4,
) -> Float:
    """Ghosts of the whole MR picture along the phase-encoding axis, FOV/ghosts apart.

    A phase that swings once in `ghosts` lines, exp(iβ·sin(2πk/ghosts + φ)) with
    β = severity·LARGEST_PHASE_RAD, has the sidebands J_m(β): copies displaced by m·FOV/ghosts
    (wrapping around the field of view, orders `ghosts` apart onto each other), the picture itself
    left with J_0(β). There are none along
    the frequency-encoding axis. ghosts = repetitions between two swings; 2 is the N/2 ghost of
    EPI. Random: φ. phase_axis: 0 where phase encoding runs down the rows (COL), 1 across (ROW).
    Source: Axel et al., Radiology 160, 1986; Wood and Henkelman, Med Phys 12, 1985.
    """
    refuse_negative(image, "ghosting")
    refuse_axis(phase_axis)
    if ghosts < 2:
        raise ValueError(f"ghosting: ghosts = {ghosts}, but a swing needs two lines or more")
    line = lines(image.shape[phase_axis])
    # Two lines to a swing are ±1: the sine must not be sampled at its zeros.
    start = np.pi / 2 if ghosts == 2 else rng.uniform(0, 2 * np.pi)
    phase = severity * LARGEST_PHASE_RAD * np.sin(2 * np.pi * line / ghosts + start)
    return to_magnitude(to_kspace(image) * along_axis(np.exp(1j * phase), phase_axis))
