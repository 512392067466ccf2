"""A network with a bundle's weights: what a site that has only the bundle can train on from.

A bundle holds the graph as served, batch norms folded and weights rounded to FP16. Convolutions,
biases and norms keep their names in it; of a linear layer the matrix is found by the bias that is
added to its product. What cannot be found, or does not reproduce the golden outputs, is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from models import networks
from models.card import Bundle, load_bundle
from models.networks.network import Network
from models.render import Float
from trainer.export import fuse_norms

SUFFIX = ".fp16"
REPRODUCED = 1e-3


def load(folder: Path) -> tuple[Network, Bundle, Float]:
    """The bundle's network, the bundle, and its golden pictures `[n, C, S, S]`.

    Raises CardError for a broken bundle, ValueError for a graph whose weights are not all found.
    """
    bundle = load_bundle(folder)
    card = bundle.card
    with np.load(bundle.golden_path) as golden:
        pictures = np.asarray(golden["input"], np.float32)
        expected = np.asarray(golden["score"], np.float32)
    network = networks.build(card.architecture, card.preset).eval()
    fuse_norms(network, pictures[:1])
    served = network.served().eval()
    _adopt(served, onnx.load(bundle.model_path), str(bundle.model_path))
    with torch.no_grad():
        scores = served(torch.from_numpy(pictures))[0].numpy()
    worst = float(np.abs(scores - expected).max())
    if worst > REPRODUCED:
        raise ValueError(
            f"{folder}: the network with its weights is {worst:.2g} off the golden scores; start "
            "from the run it was exported from (--run)"
        )
    return network, bundle, pictures


def _adopt(served: nn.Module, model: onnx.ModelProto, source: str) -> None:
    """Take up the graph's weights by name, linear layers by their biases."""
    held = {
        tensor.name.removesuffix(SUFFIX): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in model.graph.initializer
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    }
    found = held | _linear(model, held)
    state = served.state_dict()
    missing = [
        name
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
        and (name not in found or found[name].shape != tuple(value.shape))
    ]
    if missing:
        raise ValueError(
            f"{source}: {len(missing)} weights are not in the graph by name, first {missing[0]}; "
            "start from the run it was exported from (--run)"
        )
    served.load_state_dict(
        {name: torch.from_numpy(found[name]) for name in state if name in found}, strict=False
    )


def _linear(
    model: onnx.ModelProto, held: dict[str, npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Matrices of linear layers, `y = x Wᵀ + b`, which the exporter turned and left unnamed."""
    products = {
        node.output[0]: held[node.input[1]].T
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in held
    }
    return {
        f"{bias.removesuffix('.bias')}.weight": products[product]
        for node in model.graph.node
        if node.op_type == "Add"
        for product, bias in (tuple(node.input), tuple(node.input)[::-1])
        if product in products and bias.endswith(".bias")
    }
