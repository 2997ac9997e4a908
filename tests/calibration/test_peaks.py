"""Peaks of activations: the largest magnitude over all batches, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from edgeface_calibration.peaks import measure_peaks  # noqa: E402
from edgeface_runtime.errors import ArtefactError, InputError  # noqa: E402


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """x (batch, 3, 1, 1) -> a = 2 x -> y = relu(a)."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Mul", ["x", "two"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    ends = [helper.make_tensor_value_info(name, kind, ["batch", 3, 1, 1]) for name in ("x", "y")]
    two = onnx.numpy_helper.from_array(np.array(2, np.float32), "two")
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], [two])
    path = tmp_path / "g.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path


def _batch(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 3, 1, 1)


def test_the_largest_of_all_batches(graph: Path) -> None:
    batches = [_batch(1, -5, 2, 0, 3, 1), _batch(4, 0, -1)]
    assert measure_peaks(graph, batches) == {"a": 10.0, "y": 8.0}


def test_overflow_of_fp32_is_not_lost(graph: Path) -> None:
    peaks = measure_peaks(graph, [_batch(1, -3e38, 2), _batch(1, 1, 1)])
    assert peaks == {"a": np.inf, "y": 4.0}


def test_what_is_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no faces"):
        measure_peaks(graph, [])
    with pytest.raises(ArtefactError, match="cannot be measured"):
        measure_peaks(graph, [np.zeros((1, 4, 1, 1), np.float32)])
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(ArtefactError, match="export it again"):
        measure_peaks(tmp_path / "bad.onnx", [_batch(1, 2, 3)])
