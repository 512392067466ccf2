"""Operators of an exported graph against those that TensorRT runs.

`tensorrt_operators.toml` keeps the list that NVIDIA publishes for its ONNX parser, with its source
and version. A network whose graph stays inside that list, and inside the stated restrictions, can
be built into an engine without plugins. What an engine computes is another question: that is
settled on the host, by the bundle's golden outputs.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import onnx
from onnx import helper

TABLE_PATH = Path(__file__).with_name("tensorrt_operators.toml")

SMALL = 64
"""Initialisers up to this size may be shapes and axes; larger ones are weights."""

RESIZE_MODES = {"nearest", "linear"}
RESIZE_COORDINATES = {
    "half_pixel",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
    "asymmetric",
    "align_corners",
}


@dataclass(frozen=True)
class OperatorTable:
    """The published list: which operators of ONNX's own domain TensorRT's parser takes.

    supported: operator → its restriction in words, empty where none is stated.
    """

    tensorrt: str
    opset_min: int
    opset_max: int
    source: str
    supported: Mapping[str, str]
    unsupported: frozenset[str]


@lru_cache(maxsize=1)
def load_table() -> OperatorTable:
    raw = tomllib.loads(TABLE_PATH.read_text("utf-8"))
    return OperatorTable(
        tensorrt=raw["tensorrt"],
        opset_min=raw["opset_min"],
        opset_max=raw["opset_max"],
        source=raw["source"],
        supported=raw["supported"],
        unsupported=frozenset(raw["unsupported"]),
    )


def operators(model: onnx.ModelProto) -> set[str]:
    """The operators of a graph and its subgraphs; another domain's as `domain::name`."""
    return {_name(node) for node in _nodes(model.graph)}


def faults(model: onnx.ModelProto) -> list[str]:
    """What keeps TensorRT from parsing a graph, a sentence each; none where nothing does.

    Checked are opset, operators, and those restrictions of the table that a graph of ours could
    break. Needs no weights: initialisers may be empty but for those that are shapes and axes.
    """
    table = load_table()
    found = []
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and not (
            table.opset_min <= opset.version <= table.opset_max
        ):
            found.append(f"opset {opset.version} is outside {table.opset_min} to {table.opset_max}")
    graph = _Graph(model)
    for node in _nodes(model.graph):
        name = _name(node)
        if name not in table.supported:
            found.append(f"{node.name}: {name} is not in TensorRT {table.tensorrt}'s list")
            continue
        check = _RESTRICTIONS.get(name)
        if check is not None and not check(node, graph):
            found.append(f"{node.name}: {name} breaks its restriction: {table.supported[name]}")
    return found


class _Graph:
    """Ranks and constants of a graph, by the names of its values."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants = {tensor.name for tensor in model.graph.initializer}
        for node in _nodes(model.graph):
            if node.op_type == "Constant":
                self.constants |= set(node.output)
        inferred = onnx.shape_inference.infer_shapes(_without_weights(model)).graph
        self.ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            if value.type.tensor_type.HasField("shape"):
                self.ranks[value.name] = len(value.type.tensor_type.shape.dim)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its large initialisers as inputs: shapes need none of their values."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return light


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _name(node: onnx.NodeProto) -> str:
    own = node.domain in ("", "ai.onnx")
    return str(node.op_type) if own else f"{node.domain}::{node.op_type}"


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    values = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def _given(node: onnx.NodeProto, place: int) -> bool:
    return len(node.input) > place and bool(node.input[place])


def _second_input_constant(node: onnx.NodeProto, graph: _Graph) -> bool:
    return not _given(node, 1) or node.input[1] in graph.constants


def _grid_sample(node: onnx.NodeProto, graph: _Graph) -> bool:
    return graph.ranks.get(node.input[0]) == 4


def _pool(node: onnx.NodeProto, graph: _Graph) -> bool:
    dilations = _attributes(node).get("dilations", [])
    plain = isinstance(dilations, list) and all(step == 1 for step in dilations)
    return plain and len(node.output) == 1 and graph.ranks.get(node.input[0]) in (4, 5)


def _first_output_only(node: onnx.NodeProto, _: _Graph) -> bool:
    return not any(node.output[1:])


def _resize(node: onnx.NodeProto, _: _Graph) -> bool:
    values = _attributes(node)
    return (
        values.get("mode", "nearest") in RESIZE_MODES
        and values.get("coordinate_transformation_mode", "half_pixel") in RESIZE_COORDINATES
        and values.get("keep_aspect_ratio_policy", "stretch") == "stretch"
        and not values.get("antialias", 0)
        and "axes" not in values
    )


def _sorted(node: onnx.NodeProto, _: _Graph) -> bool:
    return _attributes(node).get("sorted", 1) == 1


def _no_reduction(node: onnx.NodeProto, _: _Graph) -> bool:
    return _attributes(node).get("reduction", "none") == "none"


_RESTRICTIONS: Mapping[str, Callable[[onnx.NodeProto, _Graph], bool]] = {
    "AveragePool": _pool,
    "CumSum": _second_input_constant,
    "GridSample": _grid_sample,
    "LayerNormalization": _first_output_only,
    "MaxPool": _pool,
    "Resize": _resize,
    "ScatterND": _no_reduction,
    "Squeeze": _second_input_constant,
    "TopK": _sorted,
    "Unsqueeze": _second_input_constant,
    **{
        f"Reduce{kind}": _second_input_constant
        for kind in (
            *("L1", "L2", "LogSum", "LogSumExp", "Max"),
            *("Mean", "Min", "Prod", "Sum", "SumSquare"),
        )
    },
}
