"""What runs a bundle's network. One small protocol; an engine serves only after it has reproduced
its bundle's golden outputs on this very host."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.card import Bundle
from service.errors import ConfigError

Batch = npt.NDArray[np.float32]
"""Network input `[B, C, H, W]`, as `models.render` draws it."""


class Engine(Protocol):
    """A bundle ready to run."""

    bundle: Bundle

    def infer(self, batch: Batch) -> dict[str, npt.NDArray[np.float32]]:
        """The network's outputs by name: `score [B]` and, where it has them, `spread [B]`,
        `map [B, h, w]`."""
        ...


def verify_golden(engine: Engine) -> float:
    """Run the golden inputs; the largest difference seen. Raises ConfigError beyond tolerance."""
    bundle = engine.bundle
    with np.load(bundle.golden_path) as golden:
        tolerance = float(golden["tolerance"])
        outputs = engine.infer(golden["input"])
        worst = 0.0
        for name in bundle.card.outputs:
            difference = float(np.abs(outputs[name] - golden[name]).max())
            if not difference <= tolerance:
                raise ConfigError(
                    f"bundle {bundle.card.name} {bundle.card.version}: its golden {name} differs "
                    f"by {difference:.3g} on this host, more than {tolerance:.3g}; it is not "
                    "served. Check the engine's version or fetch the bundle again."
                )
            worst = max(worst, difference)
    return worst
