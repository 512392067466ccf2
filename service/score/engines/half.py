"""The FP16 graph that GPUs run, derived from a bundle's own the same way every time.

TensorRT 11 computes every operation in the types that the graph names, so the graph must name FP16
itself. Everything between input and output becomes FP16; both ends stay FP32. Of the shipped
bundles, computed so on the CPU, the golden scores move by at most 0.004 (softmax and normalization
are accumulated in FP32 by the engines in any case), so nothing inside is kept in FP32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service.errors import EngineUnavailable


def half_graph(path: Path) -> bytes:
    """The serialized FP16 graph of an ONNX file; the same file gives the same bytes.

    Raises EngineUnavailable where the `onnx` library is missing or the graph cannot be converted.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise EngineUnavailable(
            f"score.precision = 'float16' needs a library that cannot be loaded ({error}); "
            "install it with: pip install 'iqgate[tensorrt]' or 'iqgate[cuda]'"
        ) from error
    try:
        model = _weights_unpacked(onnx.load(path))
        half = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
        half.topological_sort()
        graph = half.model
        # shapes and types that were inferred before the conversion are not true of it any more
        del graph.graph.value_info[:]
        onnx.checker.check_model(graph, full_check=True)
    except (ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise EngineUnavailable(f"{path}: cannot be converted to FP16: {error}") from error
    serialized: bytes = graph.SerializeToString(deterministic=True)
    return serialized


def _weights_unpacked(model: Any) -> Any:
    """Weights that are stored as FP16 beside a Cast to FP32, as FP32 weights without the Cast: the
    conversion makes FP16 of them again, and would take the Casts for part of the network."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    weights = {one.name: one for one in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        stored = weights.get(node.input[0]) if node.op_type == "Cast" else None
        if stored is None or stored.data_type != TensorProto.FLOAT16:
            nodes.append(node)
            continue
        values = numpy_helper.to_array(stored).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model
