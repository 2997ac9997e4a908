"""The largest magnitude every activation of a network reaches on real faces: what would leave FP16's range.

The graph runs in FP32 with one more output an activation, the maximum of its absolute values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.int8_ranges import mapped
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import require_file

__all__ = ["measure_peaks"]

PEAK = "peak:"
"""In front of an activation's name: the output that holds its peak."""


def measure_peaks(graph: Path, batches: Iterable[NDArray[np.float32]]) -> dict[str, float]:
    """Largest absolute value of every float activation of the FP32 or INT8 ONNX file `graph` over `batches`.

    Args:
        batches: of (N, 3, H, W) float32, as the network takes them.

    Returns:
        Name of an activation -> its peak; infinite where FP32 itself overflows.

    Raises:
        InputError: no faces, or no such file.
        ArtefactError: the graph does not run on them.
        ModuleNotFoundError: onnx or onnxruntime is not installed.
    """
    require_file(graph, "ONNX file")
    import onnxruntime

    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="edgeface-") as work, mapped(graph, "measured"):
        path = Path(work) / "peaks.onnx"
        names = _with_peaks(graph, path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0].name
        for batch in batches:
            found = session.run([PEAK + name for name in names], {given: batch})
            for name, value in zip(names, found, strict=True):
                peaks[name] = max(peaks.get(name, 0.0), float(value))
    if not peaks:
        raise InputError("no faces to measure activations on")
    return peaks


def _with_peaks(graph: Path, path: Path) -> list[str]:
    """Write the graph with its peaks as outputs; returns the names of the activations."""
    import onnx
    from onnx import TensorProto, helper

    proto: Any = onnx.shape_inference.infer_shapes(onnx.load(str(graph), load_external_data=False), strict_mode=True)
    typed = (*proto.graph.value_info, *proto.graph.output)
    floats = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    names = [name for node in proto.graph.node for name in node.output if name in floats]
    for name in names:
        proto.graph.node.append(helper.make_node("Abs", [name], [f"abs:{name}"]))
        proto.graph.node.append(helper.make_node("ReduceMax", [f"abs:{name}"], [PEAK + name], keepdims=0))
        proto.graph.output.append(helper.make_tensor_value_info(PEAK + name, TensorProto.FLOAT, []))
    onnx.save(proto, str(path))
    return names
