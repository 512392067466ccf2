"""Bundles made to order: a graph that scores by brightness, for tests of all but the score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tomlkit
from onnx import TensorProto, helper

from models.card import file_sha256
from models.render import RenderSpec

CT_RENDER = {
    "kind": "ct-window",
    "rows": 128,
    "columns": 128,
    "window_center_hu": 40.0,
    "window_width_hu": 400.0,
}

FUSED = {
    "kind": "pet-ct-fused",
    "rows": 128,
    "columns": 128,
    "window_center_hu": 40.0,
    "window_width_hu": 400.0,
    "suv_top": 10.0,
}


def write_bundle(
    folder: Path,
    modality: str,
    render: dict[str, Any],
    *,
    version: str = "1.0",
    domain: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """A bundle whose score is 4 less the mean of its input; its folder."""
    spec = RenderSpec.from_table(render)
    shape = [spec.channels, spec.rows, spec.columns]
    folder.mkdir(parents=True)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
            helper.make_node("Sub", ["best", "mean"], ["score"]),
        ],
        "brightness",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["B", *shape])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B"])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("best", TensorProto.FLOAT, [], [4.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    picture = np.full((1, *shape), 0.5, np.float32)
    np.savez_compressed(
        folder / "golden.npz", input=picture, score=np.float32([3.5]), tolerance=np.float32(1e-3)
    )
    card = {
        "name": folder.name,
        "version": version,
        "architecture": "brightness",
        "preset": "test",
        "modality": modality,
        "input_shape": shape,
        "outputs": ["score"],
        "limitations": ["A test's own: says nothing of quality."],
        "training": [],
        "render": spec.as_table(),
        "scale": {"worst": 0.0, "best": 4.0, "meaning": "4 is black"},
        "domain": {name: list(span) for name, span in (domain or {}).items()},
        "sha256": {name: file_sha256(folder / name) for name in ("model.onnx", "golden.npz")},
    }
    (folder / "card.toml").write_text(tomlkit.dumps(card))
    return folder
