"""From a trained run of any network to a bundle: `model.onnx`, `golden.npz`, `card.toml`.

Weights are rounded to FP16 before anything is compared, and stored so with a Cast beside each,
which ONNX Runtime folds away when it loads: half the size, the same FP32 arithmetic.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.card import CARD_NAME, GOLDEN_NAME, MODEL_NAME, Card, file_sha256, load_bundle
from models.networks import operators
from models.networks.network import Network
from trainer import cards
from trainer.datasets import SimulatedSet
from trainer.evaluation import session
from trainer.recipe import Recipe

OPSET = 18
"""ONNX's, of every graph: GELU and the like stay spelled out, and older runtimes can read it."""

PARITY = 1e-4
"""The largest difference of any served output between PyTorch and ONNX Runtime."""

FUSED = 1e-3
"""The same before and after batch norms are folded; more means that they were folded wrongly."""

GOLDEN_TOLERANCE = 1e-3
GOLDEN_PICTURES = 6


class ExportError(RuntimeError):
    """The exported graph does not compute what the network computes."""


def export(
    network: Network,
    recipe: Recipe,
    data: SimulatedSet,
    configuration: Mapping[str, Any],
    measured: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write a bundle. The same network, recipe and data give the same bytes.

    data: the set the network was trained on; golden pictures are taken from it. configuration:
    the run's (`pictures`, `without`, `weights`). Raises ExportError where ONNX Runtime and
    PyTorch differ by more than PARITY.
    """
    write_bundle(
        network, cards.fitted(recipe, configuration, measured), golden_pictures(data), folder
    )


def write_bundle(network: Network, card: Card, pictures: Any, folder: Path) -> None:
    """Write a network as a bundle, with pictures `[n, C, S, S]` and its outputs as golden ones.

    card: what is known of it; input, outputs and digests are filled in here. Raises ExportError
    where ONNX Runtime and PyTorch differ by more than PARITY.
    """
    folder.mkdir(parents=True, exist_ok=True)
    expected = export_graph(network, pictures, folder / MODEL_NAME)
    np.savez_compressed(
        folder / GOLDEN_NAME,
        input=pictures,
        tolerance=np.float32(GOLDEN_TOLERANCE),
        **expected,
    )
    card = replace(
        card,
        input_shape=pictures.shape[1:],
        outputs=network.served_outputs,
        sha256={name: file_sha256(folder / name) for name in (GOLDEN_NAME, MODEL_NAME)},
    )
    (folder / CARD_NAME).write_text(cards.card_text(card), "utf-8")
    load_bundle(folder)


def export_graph(network: Network, pictures: Any, path: Path) -> dict[str, Any]:
    """Write the served graph of a network; its outputs on pictures `[n, C, S, S]`, by name.

    The network is changed: norms folded, weights rounded. Raises ExportError where ONNX Runtime
    and PyTorch differ by more than PARITY, or where TensorRT could not parse the graph.
    """
    network.eval()
    fuse_norms(network, pictures[:1])
    round_weights(network)
    served = network.served()
    write_onnx(served, network.served_outputs, pictures[:2], path)
    expected = dict(zip(network.served_outputs, _outputs(served, pictures), strict=True))
    check_parity(path, pictures, expected)
    return expected


def fuse_norms(network: Network, pictures: Any) -> None:
    """Fold every batch norm into the convolution whose output it takes, in place (evaluation only).

    Done before weights are rounded: the exporter folds them too, and its products would be no
    FP16 values. What feeds what is seen by running pictures `[n, C, S, S]` through the network;
    the outputs before and after are compared. Raises ExportError where they differ.
    """
    served = network.served().eval()
    before = _outputs(served, pictures)
    for convolution, norm in _followed_by_norm(served, pictures):
        fused = fuse_conv_bn_eval(
            served.get_submodule(convolution),  # type: ignore[type-var]
            served.get_submodule(norm),  # type: ignore[arg-type]
        )
        old = served.get_submodule(norm)
        _replace(served, convolution, fused)
        # timm's norms may carry the activation after them.
        _replace(served, norm, old.act if isinstance(old, BatchNormAct2d) else nn.Identity())
    for a, b in zip(before, _outputs(served, pictures), strict=True):
        if np.abs(a - b).max() > FUSED:
            raise ExportError(
                f"folding batch norms changed an output by {np.abs(a - b).max():.2g}: "
                "a convolution feeds more than its norm"
            )


def round_weights(network: torch.nn.Module) -> None:
    """Round matrices and kernels to FP16 values in place; vectors and statistics stay FP32."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())


def golden_pictures(data: SimulatedSet) -> Any:
    """Pictures `[GOLDEN_PICTURES, C, H, W]` float32 from the best target to the worst.

    The trainer's own chests are preferred: their pictures need nobody's licence.
    """
    own = [i for i, entry in enumerate(data.entries) if entry.source == "iqgate-chest"]
    chosen = own if len(own) >= GOLDEN_PICTURES else list(range(len(data.entries)))
    chosen.sort(key=lambda i: -data.entries[i].target)
    places = np.linspace(0, len(chosen) - 1, GOLDEN_PICTURES).round().astype(int)
    return np.asarray(data.pictures[[chosen[place] for place in places]], np.float32)


def write_onnx(served: nn.Module, outputs: Sequence[str], example: Any, path: Path) -> None:
    """Export with a dynamic batch, weights stored as FP16.

    Raises ExportError naming the operators that are not in TensorRT's published list.
    """
    with warnings.catch_warnings():
        # The exporter warns about its own deprecations; they say nothing about this graph.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            served,
            (torch.from_numpy(example),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program")
    model = program.model_proto
    _store_as_fp16(model)
    _strip(model)
    onnx.checker.check_model(model)
    faults = operators.faults(model)
    if faults:
        raise ExportError("TensorRT cannot parse the graph: " + "; ".join(faults))
    path.write_bytes(model.SerializeToString(deterministic=True))


def check_parity(model: Path, pictures: Any, expected: Mapping[str, Any]) -> None:
    """Raises ExportError naming the output that differs from PyTorch's by more than PARITY."""
    running = session(model)
    got = running.run(list(expected), {"input": pictures})
    # One picture alone too: a graph that baked in its batch would fail here.
    alone = running.run(list(expected), {"input": pictures[:1]})
    for name, values, first in zip(expected, got, alone, strict=True):
        worst = max(
            float(np.abs(values - expected[name]).max()),
            float(np.abs(first - expected[name][:1]).max()),
        )
        if worst > PARITY:
            raise ExportError(f"{model}: {name} differs from PyTorch by {worst:.2g} > {PARITY}")


def _outputs(served: nn.Module, pictures: Any) -> list[Any]:
    with torch.no_grad():
        return [output.numpy() for output in served(torch.from_numpy(pictures))]


def _followed_by_norm(served: nn.Module, pictures: Any) -> list[tuple[str, str]]:
    """The names of every convolution and batch norm that takes its output, in order of use."""
    names = {module: name for name, module in served.named_modules()}
    made: dict[int, tuple[nn.Module, Tensor]] = {}
    calls: list[nn.Module] = []
    pairs = []

    def remember(module: nn.Module, _: Any, output: Tensor) -> None:
        # The tensor is kept, so that its id stays its own.
        made[id(output)] = (module, output)
        calls.append(module)

    def meet(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls.append(module)
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    hooks = []
    for module in served.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(remember))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(meet))
    _outputs(served, pictures)
    for hook in hooks:
        hook.remove()
    # One that is used twice serves two masters.
    return [(names[a], names[b]) for a, b in pairs if calls.count(a) == calls.count(b) == 1]


def _replace(module: nn.Module, name: str, by: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, by)


def _store_as_fp16(model: onnx.ModelProto) -> None:
    """Replace large FP32 initialisers that are exact in FP16 by FP16 ones with a Cast each."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        halves = values.astype(np.float16)
        if values.size < 64 or not np.array_equal(halves.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}.fp16"))
        casts.append(
            helper.make_node("Cast", [f"{name}.fp16"], [name], f"{name}.cast", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _strip(model: onnx.ModelProto) -> None:
    """Drop what describes the exporting machine: stack traces, paths, inferred shapes."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
