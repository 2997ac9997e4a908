"""Weights kept as FP16 in an FP32 graph: half the file, the same arithmetic, and other precisions still read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from edgeface.models import FaceNet, build_spec
from edgeface_export.half_weights import SUFFIX, store_half
from edgeface_export.onnx_export import export_onnx
from edgeface_export.parity import load_graph
from edgeface_export.precision import to_fp16
from edgeface_runtime.errors import GateError


@pytest.fixture
def graph(tmp_path: Path, lived_in: Callable[[FaceNet], FaceNet]) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "whole.onnx"
    export_onnx(lived_in(FaceNet(build_spec("iresnet18", 0.25, mask="decoder", embedding=64))), path)
    return path


def run(path: Path, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["embedding"], {"input": batch})[0])


def weights(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in load_graph(path).graph.initializer}


def test_the_file_halves_and_only_rounding_is_lost(graph: Path) -> None:
    batch = np.random.default_rng(0).uniform(-1, 1, (3, 3, 112, 96)).astype(np.float32)
    size, before, known = graph.stat().st_size, run(graph, batch), weights(graph)
    store_half(graph)
    assert graph.stat().st_size < 0.56 * size
    assert float((run(graph, batch) * before).sum(1).min()) > 0.99999
    found = weights(graph)
    assert found.keys() == known.keys(), "read as if nothing had happened"
    for name, values in known.items():
        wanted = (
            values.astype(np.float16).astype(np.float32)
            if values.dtype == np.float32 and values.size >= 1024
            else values
        )
        np.testing.assert_array_equal(found[name], wanted)
    stored = [tensor for tensor in onnx.load(str(graph)).graph.initializer if tensor.name.endswith(SUFFIX)]
    assert sum(np.prod(tensor.dims) for tensor in stored) > 0.9 * sum(values.size for values in known.values())


def test_other_precisions_are_made_from_it(graph: Path, tmp_path: Path) -> None:
    batch = np.random.default_rng(1).uniform(-1, 1, (2, 3, 112, 96)).astype(np.float32)
    store_half(graph)
    to_fp16(graph, tmp_path / "half.onnx")
    assert not any(SUFFIX in node.name for node in onnx.load(str(tmp_path / "half.onnx")).graph.node)
    assert float((run(tmp_path / "half.onnx", batch) * run(graph, batch)).sum(1).min()) > 0.999


def test_a_weight_beyond_fp16_is_refused(graph: Path) -> None:
    proto = onnx.load(str(graph))
    large = next(tensor for tensor in proto.graph.initializer if np.prod(tensor.dims) >= 1024)
    values = numpy_helper.to_array(large).copy()
    values.flat[0] = 1e5
    large.CopyFrom(numpy_helper.from_array(values, large.name))
    onnx.save(proto, str(graph))
    kept = graph.read_bytes()
    with pytest.raises(GateError, match="reaches 1e\\+05, beyond FP16"):
        store_half(graph)
    assert graph.read_bytes() == kept
