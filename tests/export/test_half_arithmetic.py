"""FP16 as a device computes it: two other implementations agree; overflow shows and is kept out."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeface.models import FaceNet
from edgeface_calibration.peaks import measure_peaks
from edgeface_export.fold import fold
from edgeface_export.half_arithmetic import reference_embeddings, write_rounded
from edgeface_export.onnx_export import export_onnx
from edgeface_export.parity import batches_of, cosines, embed_onnx, embed_torch, to_input
from edgeface_export.precision import MAX_HALF, overflowing, to_fp16

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def test_two_other_implementations_agree(
    masked: FaceNet, masked_half: Path, faces: np.ndarray, tmp_path: Path
) -> None:
    write_rounded(masked_half, tmp_path / "rounded.onnx")
    found, share = embed_onnx(tmp_path / "rounded.onnx", faces, optimise=False)
    with torch.no_grad():
        raw = fold(masked).model.half()(torch.from_numpy(to_input(faces)).half()).float().numpy()
    assert cosines(found, raw).min() > 0.99999
    assert cosines(found[:1], reference_embeddings(masked_half, to_input(faces[:1]))).min() > 0.99999
    assert share is not None and found.dtype == np.float32
    # Nearer to them than the same graph computed in FP32: it is the arithmetic, not only the weights, that is FP16.
    stored, _ = embed_onnx(masked_half, faces)
    assert cosines(found, raw).mean() > cosines(stored, raw).mean()


def test_a_sum_is_rounded_once_and_overflow_is_infinite(tmp_path: Path) -> None:
    # x (1, 3) @ w: 2048 + 1 - 1 in FP32 is exact; the sum 2048.5 is rounded to 2048 once, at the end.
    weight = numpy_helper.from_array(np.array([[1.0, 300.0]] * 3, np.float32), "w")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", size]) for n, size in (("x", 3), ("y", 2))]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="only")]
    path = tmp_path / "one.onnx"
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    to_fp16(path, tmp_path / "half.onnx")
    write_rounded(tmp_path / "half.onnx", tmp_path / "rounded.onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(tmp_path / "rounded.onnx"), options)
    (y,) = session.run(None, {"x": np.array([[2048.0, 1.0, -0.5]], np.float32)})
    assert y.tolist() == [[2048.0, np.inf]]


@pytest.fixture(scope="module")
def loud(masked: FaceNet) -> FaceNet:
    """One activation is 100,000 times as large, the next layer makes it small again: the same embedding in FP32."""
    net = copy.deepcopy(masked)
    with torch.no_grad():
        net.stem[1].weight.mul_(1e5)
        net.stem[1].bias.mul_(1e5)
        net.stages[0][0].shortcut[0].weight.mul_(1e-5)
        bn = net.stages[0][0].bn1
        bn.running_mean.mul_(1e5)
        bn.running_var.mul_(1e10)
    return net


def test_overflow_that_onnx_runtime_hides_is_seen_and_kept_in_fp32(
    loud: FaceNet, faces: np.ndarray, tmp_path: Path
) -> None:
    source, half, rounded = (tmp_path / f"{name}.onnx" for name in ("loud", "half", "rounded"))
    export_onnx(loud, source)
    reference, _ = embed_torch(loud, faces)
    to_fp16(source, half)
    write_rounded(half, rounded)
    assert np.isnan(cosines(reference, embed_onnx(rounded, faces, optimise=False)[0])).any()

    peaks = measure_peaks(source, batches_of(faces))
    large = overflowing(source, peaks)
    assert large and all(name.startswith(("stem.", "stages.0.0")) for name in large)
    assert max(large.values()) == pytest.approx(_stem_peak(loud, faces), rel=1e-3) and max(large.values()) > MAX_HALF
    report = to_fp16(source, half, large)
    assert set(large) <= set(report.kept_fp32)
    write_rounded(half, rounded)
    assert cosines(reference, embed_onnx(rounded, faces, optimise=False)[0]).mean() > 0.9999


def _stem_peak(model: FaceNet, faces: np.ndarray) -> float:
    seen = []
    with torch.no_grad():
        for module in model.stem:  # largest of what stands in the graph: BN is folded, PReLU is Mul and Max
            seen.append(module)
        x = torch.from_numpy(to_input(faces))
        convolved = seen[1](seen[0](x))
        return max(convolved.abs().max().item(), seen[2](convolved).abs().max().item())
