"""Inference: slices a second of the shipped bundles by engine, against PyTorch eager.

    python benchmarks/inference.py [--rounds 7] [--batches 1 16] [--threads 2]
                                   [--bundles NAME ...] [--engines openvino openvino:bfloat16 ...]
                                   [--presets md-iqa:paper ...] [--slices DIR] [--cache DIR]
                                   [--json FILE]

The same pictures, the same number of threads; engines and PyTorch (FP32, eager, the bundle's own
architecture) take turns within each round, in an order that rotates. Ratios are of one round, their
median is told. Processor time a slice stands beside the rate: it hardly depends on what else runs.

An engine is written `name` or `name:precision`. One that misses the golden outputs is measured and
marked "refused": the gate would not serve it. `--slices` draws real series as the gate does and
compares every engine's scores with ONNX Runtime's in FP32. Resident memory is what a process of its
own gained by loading the one bundle and scoring batches of the largest size. `--presets` measures
networks instead of bundles, by architecture and preset, exported here with weights drawn at random:
speed does not depend on them. The papers' presets take minutes and several GiB each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from models import networks
from models.card import Bundle, load_bundles
from service.bundle import resident_mib
from service.config import Score
from service.errors import EngineUnavailable
from service.score import engines as protocol
from service.score.drawing import FrameSource
from service.score.engines import golden, onnxruntime_cuda, openvino, tensorrt
from service.score.engines.choice import make, precision_of
from service.score.engines.onnxruntime import OnnxRuntimeEngine
from service.score.scorer import Scorer

BUNDLES = Path(__file__).parents[1] / "models" / "bundles"
SECONDS_A_TURN = 0.7
EAGER = "PyTorch eager"

Infer = Callable[[np.ndarray], object]


@dataclass
class Contender:
    """Something that infers, and what the golden outputs say of it."""

    name: str
    infer: Infer
    golden: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--bundles", nargs="+", metavar="NAME")
    parser.add_argument(
        "--engines", nargs="+", default=["onnxruntime", "openvino", "openvino:bfloat16"]
    )
    parser.add_argument("--presets", nargs="+", default=[], metavar="ARCHITECTURE:PRESET")
    parser.add_argument("--slices", type=Path, help="a folder of DICOM series, for parity")
    parser.add_argument("--cache", type=Path, help="folder of built TensorRT engines")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--folder", type=Path, default=BUNDLES, help="folder of bundle folders")
    parser.add_argument("--resident", metavar="ENGINE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measure_what_would_be_refused()
    with tempfile.TemporaryDirectory() as folder:
        for number, written in enumerate(arguments.presets):
            export_at_random(written, Path(folder, "bundles", str(number)))
        if arguments.presets:
            arguments.folder = Path(folder, "bundles")
        chosen = [
            one
            for one in load_bundles(arguments.folder)
            if arguments.bundles is None or one.card.name in arguments.bundles
        ]
        arguments.cache = arguments.cache or Path(folder, "engines")
        if arguments.resident:
            print(resident_after(chosen[0], arguments))
            return 0
        figures = {
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "load": os.getloadavg()[0],
            "rows": [row for one in chosen for row in compared(one, arguments)],
            "parity": parity(chosen, arguments) if arguments.slices else [],
            "resident_mib": {
                f"{one.card.name} {name}": resident_elsewhere(one, name, arguments)
                for one in chosen
                for name in arguments.engines
            },
        }
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    return 0


def export_at_random(written: str, folder: Path) -> None:
    """A bundle of an architecture at a preset, its weights drawn at random."""
    from trainer.export import write_bundle

    architecture, preset = written.split(":")
    model = next(one for one in load_bundles(BUNDLES) if one.card.architecture == architecture)
    torch.manual_seed(0)
    network = networks.build(architecture, preset)
    side, channels = network.preset.side, model.card.input_shape[0]
    pictures = np.random.default_rng(0).random((2, channels, side, side), np.float32)
    # norms that have seen nothing let activations grow until rounding shows in the export's checks
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(pictures))
    network.eval()
    card = replace(model.card, name=f"{architecture}-{preset}", preset=preset)
    write_bundle(network, card, pictures, folder)


def measure_what_would_be_refused() -> None:
    """Have engines note golden figures beyond tolerance instead of refusing to serve."""
    for module in (openvino, onnxruntime_cuda, tensorrt):
        module.verify_golden = golden.golden_figures  # type: ignore[attr-defined]


def engine_of(bundle: Bundle, written: str, arguments: argparse.Namespace) -> protocol.Engine:
    """An engine by `name` or `name:precision`. Raises EngineUnavailable."""
    name, _, precision = written.partition(":")
    settings = Score(
        engine=name,  # type: ignore[arg-type]
        precision=precision or None,  # type: ignore[arg-type]
        threads=arguments.threads,
        batch_size=max(arguments.batches),
    )
    assert not precision or precision_of(settings.engine, settings) == precision
    return make(settings.engine, bundle, settings, arguments.cache, protocol.Startup())


def contenders(bundle: Bundle, arguments: argparse.Namespace) -> list[Contender]:
    """The engines that can be made ready here, and PyTorch."""
    found = []
    for written in arguments.engines:
        try:
            engine = engine_of(bundle, written, arguments)
        except EngineUnavailable as error:
            print(f"{bundle.card.name}: {written} left out: {error}", file=sys.stderr)
            continue
        good = all(one.reproduced for one in engine.golden)
        found.append(Contender(written, engine.infer, "reproduced" if good else "refused"))
    network = networks.build(bundle.card.architecture, bundle.card.preset).served().eval()
    own, exported = sum(one.numel() for one in network.parameters()), weights(bundle)
    if not 0.9 < own / exported < 1.1:
        print(
            f"{bundle.card.name}: {EAGER} left out: preset {bundle.card.preset} has changed since "
            f"the bundle was exported ({own} parameters, {exported} weights)",
            file=sys.stderr,
        )
        return found

    def eager(batch: np.ndarray) -> None:
        with torch.inference_mode():
            network(torch.from_numpy(batch))

    return [*found, Contender(EAGER, eager, "")]


def weights(bundle: Bundle) -> int:
    """How many numbers a bundle's graph carries."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    graph = onnx.load(bundle.model_path).graph
    return sum(math.prod(one.dims) for one in graph.initializer if one.data_type in floats)


def compared(bundle: Bundle, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Rates of every contender at every batch size."""
    racing = contenders(bundle, arguments)
    rows = []
    for size in arguments.batches:
        shape = (size, *bundle.card.input_shape)
        batch = np.random.default_rng(0).random(shape, np.float32)
        rates: dict[str, list[float]] = {one.name: [] for one in racing}
        costs: dict[str, list[float]] = {one.name: [] for one in racing}
        for one in racing:
            one.infer(batch)
        for number in range(arguments.rounds):
            turn = number % len(racing)
            for one in racing[turn:] + racing[:turn]:
                rate, cpu_s = pace(one.infer, batch)
                rates[one.name].append(rate)
                costs[one.name].append(1000 * cpu_s)
        for one in racing:
            against = rates.get(EAGER, [])
            ratios = [own / eager for own, eager in zip(rates[one.name], against, strict=False)]
            rows.append(
                {
                    "bundle": bundle.card.name,
                    "batch": size,
                    "engine": one.name,
                    "golden": one.golden,
                    "slices_per_s": spread(rates[one.name]),
                    "cpu_ms_a_slice": spread(costs[one.name]),
                    "ratio_to_eager": spread(ratios) if ratios else None,
                }
            )
    return rows


def pace(infer: Infer, batch: np.ndarray) -> tuple[float, float]:
    """Slices a second, and seconds of processor time a slice, over one turn."""
    began, began_cpu, count = time.perf_counter(), time.process_time(), 0
    while (elapsed := time.perf_counter() - began) < SECONDS_A_TURN:
        infer(batch)
        count += len(batch)
    return count / elapsed, (time.process_time() - began_cpu) / count


def spread(values: list[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
    }


def parity(bundles: list[Bundle], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """How far each engine's scores of real slices lie from ONNX Runtime's in FP32."""
    rows = []
    for bundle in bundles:
        drawn = pictures(bundle, arguments)
        if not len(drawn):
            continue
        exact = OnnxRuntimeEngine(bundle, arguments.threads).infer(drawn)["score"]
        for written in arguments.engines:
            try:
                scores = engine_of(bundle, written, arguments).infer(drawn)["score"]
            except EngineUnavailable:
                continue
            off = np.abs(scores.astype(np.float64) - exact)
            rows.append(
                {
                    "bundle": bundle.card.name,
                    "engine": written,
                    "slices": len(drawn),
                    "mean": float(off.mean()),
                    "largest": float(off.max()),
                }
            )
    return rows


def pictures(bundle: Bundle, arguments: argparse.Namespace) -> np.ndarray:
    """The slices below a folder that a bundle scores, drawn as the gate draws them."""
    scorer = Scorer(arguments.folder, Score(serve=(bundle.card.name,), threads=arguments.threads))
    sources = [FrameSource(path, 1) for path in sorted(arguments.slices.rglob("*.dcm"))]
    drawn = [
        one.drawing.picture
        for start in range(0, len(sources), 64)
        for one in scorer.draw(sources[start : start + 64]).frames
        if hasattr(one, "drawing")
    ]
    return np.stack(drawn) if drawn else np.empty((0, *bundle.card.input_shape), np.float32)


def resident_elsewhere(bundle: Bundle, written: str, arguments: argparse.Namespace) -> int | None:
    """MiB resident in a process of its own; None where the engine cannot be made ready."""
    command = [sys.executable, __file__, "--resident", written, "--bundles", bundle.card.name]
    command += ["--folder", str(bundle.folder.parent)]
    command += ["--threads", str(arguments.threads), "--cache", str(arguments.cache)]
    command += ["--batches", *map(str, arguments.batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


def resident_after(bundle: Bundle, arguments: argparse.Namespace) -> int:
    """MiB that loading and scoring added to this process, PyTorch's own share left out."""
    before = resident_mib()
    engine = engine_of(bundle, arguments.resident, arguments)
    batch = np.zeros((max(arguments.batches), *bundle.card.input_shape), np.float32)
    for _ in range(20):
        engine.infer(batch)
    return resident_mib() - before


def ranged(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return f"{'':24}"
    return f"{ratio['median']:7.2f}{ratio['lowest']:9.2f}–{ratio['highest']:<7.2f}"


def show(figures: dict[str, Any]) -> None:
    head = f"{'bundle':24}{'engine':20}{'batch':>6}{'slices/s':>10}{'lowest–highest':>17}"
    print(f"{head}{'CPU ms':>8}{'ratio':>7}{'lowest–highest':>17}  golden")
    for row in figures["rows"]:
        rate, ratio = row["slices_per_s"], row["ratio_to_eager"]
        print(
            f"{row['bundle']:24}{row['engine']:20}{row['batch']:6}{rate['median']:10.1f}"
            f"{rate['lowest']:9.1f}–{rate['highest']:<7.1f}{row['cpu_ms_a_slice']['median']:8.1f}"
            f"{ranged(ratio)}  {row['golden']}"
        )
    for row in figures["parity"]:
        print(
            f"{row['bundle']:24}{row['engine']:20} {row['slices']} real slices: scores differ by "
            f"{row['mean']:.4f} on average, {row['largest']:.4f} at most"
        )
    for name, mib in figures["resident_mib"].items():
        print(f"{name:44} {'not ready here' if mib is None else f'{mib} MiB added'}")


if __name__ == "__main__":
    sys.exit(main())
