"""Ranges for INT8: minmax and percentile against numpy's own, batches joined, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")
onnx = pytest.importorskip("onnx", reason="needs onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgeface_calibration.int8_ranges import measure_ranges  # noqa: E402
from edgeface_runtime.errors import ArtefactError, InputError  # noqa: E402


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """One 1x1 convolution: three channels to one, (x0 + 2 x1 - x2) + 1."""
    weight = numpy_helper.from_array(np.array([1, 2, -1], np.float32).reshape(1, 3, 1, 1), "w")
    bias = numpy_helper.from_array(np.array([1], np.float32), "b")
    made = helper.make_graph(
        [helper.make_node("Conv", ["input", "w", "b"], ["out"], name="conv")],
        "one",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 4, 5])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1, 4, 5])],
        [weight, bias],
    )
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_minmax_is_the_extremes_over_all_batches(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(6, 3, 4, 5)).astype(np.float32)
    out = x[:, 0] + 2 * x[:, 1] - x[:, 2] + 1
    found = measure_ranges(graph, (x[:2], x[2:]), "minmax")
    assert (found.method, found.faces) == ("minmax", 6)
    assert found.values["input"] == pytest.approx((x.min(), x.max()))
    assert found.values["out"] == pytest.approx((out.min(), out.max()), rel=1e-5)
    assert capsys.readouterr() == ("", "")


def test_percentile_cuts_outliers_off(graph: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, size=(400, 3, 4, 5)).astype(np.float32)
    x[0, 0, 0, 0] = 50.0  # one of 24,000 values: .004 %, beyond the .01 % that is cut
    low, high = measure_ranges(graph, (x[:200], x[200:]), "percentile").values["input"]
    assert -1.1 < low < -0.9 and 0.9 < high < 1.1
    assert measure_ranges(graph, (x,), "minmax").values["input"][1] == 50.0


def test_entropy_keeps_less_than_all(graph: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3, 4, 5)).astype(np.float32)
    x[0, 0, 0, 0] = 30.0
    low, high = measure_ranges(graph, (x,), "entropy").values["input"]
    assert low < -1 and 1 < high < 30


def test_what_is_refused(graph: Path, tmp_path: Path) -> None:
    x = np.zeros((1, 3, 4, 5), np.float32)
    with pytest.raises(InputError, match="unknown --method 'best': choose one of minmax, percentile, entropy"):
        measure_ranges(graph, (x,), "best")
    with pytest.raises(InputError, match="no faces"):
        measure_ranges(graph, ())
    with pytest.raises(InputError, match="not found"):
        measure_ranges(tmp_path / "none.onnx", (x,))
    with pytest.raises(ArtefactError, match="cannot be calibrated"):
        measure_ranges(graph, (x[:, :2],))
