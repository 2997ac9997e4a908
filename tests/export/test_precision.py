"""FP16 graphs: half the size, float ends, a norm that cannot overflow, and real half arithmetic."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeface.models import FaceNet
from edgeface_export.parity import compare, cosines, embed_onnx, embed_torch, to_input
from edgeface_export.precision import to_fp16
from edgeface_runtime.errors import ArtefactError

TAIL = ("output/ReduceL2", "output/Clip", "output/Div", "output/ReduceMean", "output/Sub")


def test_size_ends_and_what_stays(masked_onnx: Path, tmp_path: Path) -> None:
    report = to_fp16(masked_onnx, tmp_path / "half.onnx")
    assert report.size_bytes / masked_onnx.stat().st_size == pytest.approx(0.5, abs=0.01)
    assert set(report.kept_fp32) == set(TAIL) and report.clamped == 0
    model = onnx.load(str(tmp_path / "half.onnx"))
    onnx.checker.check_model(model, full_check=True)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    big = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1 and np.prod(tensor.dims) > 8]
    assert big and all(tensor.data_type == TensorProto.FLOAT16 for tensor in big)
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert len(casts) == 3  # after the input, before the norm, before the mask's mean
    assert model.producer_name == "edgeface"


def test_graph_agrees_on_faces(masked: FaceNet, masked_half: Path, faces: np.ndarray) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    parity = compare(masked, masked_half, faces)
    assert parity.covered_share_max_difference is not None and parity.covered_share_max_difference < 1e-3


def test_fp16_arithmetic_agrees(masked: FaceNet, masked_half: Path, faces: np.ndarray) -> None:
    reference, share = embed_torch(masked, faces[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its sigmoid overflows in a branch that it then drops
        embedding, covered = ReferenceEvaluator(str(masked_half)).run(None, {"input": to_input(faces[:1])})
    assert embedding.dtype == np.float32 and covered.dtype == np.float32 and share is not None
    assert cosines(reference, embedding).min() > 0.9999
    assert covered == pytest.approx(share, abs=1e-3)


def test_a_long_embedding_does_not_overflow_the_norm(
    masked: FaceNet, masked_onnx: Path, faces: np.ndarray, tmp_path: Path
) -> None:
    model = onnx.load(str(masked_onnx))
    lengths = np.linalg.norm(_raw(masked, faces[:1]), axis=1)
    for tensor in model.graph.initializer:
        if tensor.name in ("head.1.weight", "head.1.bias"):
            # To length 10,000: every value fits FP16, their squares do not.
            scaled = numpy_helper.to_array(tensor) * np.float32(1e4 / lengths[0])
            tensor.CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), tensor.name))
    long, half = tmp_path / "long.onnx", tmp_path / "half.onnx"
    onnx.save(model, str(long))
    to_fp16(long, half)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedding, _ = ReferenceEvaluator(str(half)).run(None, {"input": to_input(faces[:1])})
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-3)
    assert cosines(embed_torch(masked, faces[:1])[0], embedding).min() > 0.9999


def _raw(model: FaceNet, faces: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(to_input(faces))).numpy()


def _small(tmp_path: Path, weight: np.ndarray, op: str = "Relu") -> Path:
    """x (batch, 3) -> MatMul -> op -> Add -> MatMul -> Neg; the second MatMul gives the output through the tail."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node(op, ["a"], ["b"], name="middle"),
        helper.make_node("MatMul", ["b", "w"], ["c"], name="second"),
        helper.make_node("Add", ["c", "one"], ["y"], name="last"),
    ]
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.ones(3, np.float32), "one")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], weights)
    path = tmp_path / f"small-{op}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path


def test_clamped_and_vanished_weights_are_counted(tmp_path: Path) -> None:
    weight = np.array([[1e5, 1.0, 0.0], [-70000.0, 1e-9, 2.0], [65504.0, 3e-7, 0.0]], np.float32)
    report = to_fp16(_small(tmp_path, weight), tmp_path / "half.onnx")
    assert (report.clamped, report.vanished, report.half_weights) == (2, 1, 9)
    (half,) = [
        tensor for tensor in onnx.load(str(tmp_path / "half.onnx")).graph.initializer if tensor.name == "w:half"
    ]
    np.testing.assert_array_equal(numpy_helper.to_array(half)[:, 0], np.float16([65504, -65504, 65504]))


def test_an_operator_not_known_to_be_safe_stays_in_fp32(tmp_path: Path) -> None:
    path = _small(tmp_path, np.eye(3, dtype=np.float32) * 2, "Exp")
    report = to_fp16(path, tmp_path / "half.onnx")
    assert set(report.kept_fp32) == {"middle", "last"}
    x = np.array([[1.0, 2.0, -1.0]], np.float32)
    # Two casts each way round Exp: 2 * exp(2x) + 1, of which exp(4) = 54.6 fits FP16 to a thousandth.
    (y,) = ReferenceEvaluator(str(tmp_path / "half.onnx")).run(None, {"x": x})
    np.testing.assert_allclose(y, 2 * np.exp(2 * x) + 1, rtol=2e-3)


def test_a_half_graph_is_not_halved_again(masked_half: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="already holds FP16"):
        to_fp16(masked_half, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_same_bytes(masked_onnx: Path, masked_half: Path, tmp_path: Path, faces: np.ndarray) -> None:
    to_fp16(masked_onnx, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == masked_half.read_bytes()
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    assert embed_onnx(masked_half, faces[:3])[0].shape == (3, 512)
