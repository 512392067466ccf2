"""The FP16 graph: FP16 within, FP32 at both ends, the same bytes every time."""

from __future__ import annotations

import sys

import onnx
import pytest
from onnx import TensorProto

from models.card import load_bundle
from service.errors import EngineUnavailable
from service.score.engines.half import half_graph
from tests.score.engines.conftest import SHIPPED


@pytest.mark.parametrize("name", sorted(one.parent.name for one in SHIPPED.glob("*/card.toml")))
def test_every_shipped_bundle_has_one(name):
    bundle = load_bundle(SHIPPED / name)
    graph = half_graph(bundle.model_path)
    assert graph == half_graph(bundle.model_path)
    model = onnx.load_from_string(graph)
    ends = [*model.graph.input, *model.graph.output]
    assert {one.type.tensor_type.elem_type for one in ends} == {TensorProto.FLOAT}
    assert [one.name for one in model.graph.output] == list(bundle.card.outputs)
    weights = {one.data_type for one in model.graph.initializer}
    assert TensorProto.FLOAT16 in weights
    assert TensorProto.FLOAT not in weights
    casts = [one for one in model.graph.node if one.op_type == "Cast"]
    assert len(casts) <= 6, "only both ends, and shapes"
    assert len(graph) < 1.1 * bundle.model_path.stat().st_size


def test_without_onnx_the_extra_is_named(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'iqgate\[tensorrt\]'"):
        half_graph(bundle.model_path)
