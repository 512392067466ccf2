"""Inference: slices a second of the shipped bundle under ONNX Runtime against PyTorch eager.

    python benchmarks/inference.py [--rounds 7] [--batches 1 8 16] [--threads 2] [--json FILE]

Same network, same input, same threads, turn by turn within each round. PyTorch runs the bundle's
architecture and preset in eager mode (its speed does not depend on the weights). "render" is the
rest of the way from decoded pixels: HU, noise figure, window, resampling, on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models.card import Bundle, load_bundles
from models.measure import soft_tissue_noise_hu
from models.networks import md_iqa
from models.physical import to_hu
from service.score.engines.onnxruntime import OnnxRuntimeEngine

BUNDLES = Path(__file__).parents[1] / "models" / "bundles"
SECONDS_A_TURN = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    (bundle,) = load_bundles(BUNDLES)
    engine = OnnxRuntimeEngine(bundle, arguments.threads)
    network = md_iqa.Served(md_iqa.build(bundle.card.preset)).eval()
    rows = []
    for size in arguments.batches:
        batch = np.random.default_rng(0).random((size, *bundle.card.input_shape), np.float32)
        tensor = torch.from_numpy(batch)

        def eager(tensor: torch.Tensor = tensor) -> None:
            with torch.inference_mode():
                network(tensor)

        def onnxruntime(batch: np.ndarray = batch) -> None:
            engine.infer(batch)

        turns = {"ONNX Runtime": onnxruntime, "PyTorch eager": eager}
        rates: dict[str, list[float]] = {name: [] for name in turns}
        for turn in turns.values():
            turn()
        for _ in range(arguments.rounds):
            for name, turn in turns.items():
                rates[name].append(size * calls_per_s(turn))
        ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
        rows += [
            {
                "batch": size,
                "engine": name,
                "slices_per_s": statistics.median(values),
                "lowest": min(values),
                "highest": max(values),
                "ratio_to_eager": statistics.median(ratios) if name == "ONNX Runtime" else 1.0,
            }
            for name, values in rates.items()
        ]
    rendering = statistics.median(
        calls_per_s(lambda: draw(bundle)) for _ in range(arguments.rounds)
    )
    figures = {
        "bundle": bundle.card.name,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "rows": rows,
        "render_slices_per_s": rendering,
    }
    print(f"{'engine':16}{'batch':>6}{'slices/s':>10}{'lowest':>9}{'highest':>9}{'ratio':>7}")
    for row in rows:
        print(
            f"{row['engine']:16}{row['batch']:6}{row['slices_per_s']:10.1f}"
            f"{row['lowest']:9.1f}{row['highest']:9.1f}{row['ratio_to_eager']:7.2f}"
        )
    print(f"render, one thread: {rendering:.0f} slices/s")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


class _Header:
    """What `to_hu` reads of a header."""

    RescaleSlope = 1
    RescaleIntercept = -1024


STORED = np.random.default_rng(0).integers(900, 1200, (512, 512)).astype(np.int16)


def draw(bundle: Bundle) -> None:
    hu = to_hu(STORED, _Header)
    soft_tissue_noise_hu(hu)
    bundle.card.render.draw(hu)


def calls_per_s(call: Callable[[], object]) -> float:
    """How often `call` runs in a second, over one turn."""
    began = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - began) < SECONDS_A_TURN:
        call()
        count += 1
    return count / elapsed


if __name__ == "__main__":
    sys.exit(main())
