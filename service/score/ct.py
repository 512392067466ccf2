"""CT: stored values to Hounsfield units, drawn in the window that its kernel is read in."""

from __future__ import annotations

import numpy as np

from models import domain, kernel
from models.card import Bundle
from models.measure import soft_tissue_noise_hu
from models.physical import not_hounsfield, to_hu
from models.render import CtWindow
from service import header
from service.score.drawing import Drawing, Frame, NotScored
from service.score.frame import spacing_mm


def draw_ct(frame: Frame, bundle: Bundle) -> Drawing:
    """Draw one CT frame. Raises NotScored for a constant image, and for values that
    cannot be Hounsfield units."""
    spec = bundle.card.render
    assert isinstance(spec, CtWindow)
    hu = to_hu(frame.decode(), frame.header)
    if not np.ptp(hu):
        raise NotScored("the image is constant")
    reason = not_hounsfield(hu)
    if reason is not None:
        raise NotScored(f"its values cannot be Hounsfield units: {reason}")
    reading = kernel.reading(
        header.text(frame.header, "ConvolutionKernel").split("\\")[0],
        header.number(frame.header, "WindowCenter"),
        header.number(frame.header, "WindowWidth"),
    )
    return Drawing(
        spec.draw(hu, reading),
        noise_hu=soft_tissue_noise_hu(hu),
        described=domain.describe_ct(hu, spacing_mm(frame.header)),
    )
