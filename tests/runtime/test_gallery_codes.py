"""One-byte codes: the bound holds for every row, both ways of multiplying agree, the graph is a valid ONNX file."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_runtime.gallery_codes import Product, bounds, matmul_graph, quantise, quantise_probe


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("size", [2, 24, 512, 1024])
@pytest.mark.parametrize("heavy", [False, True])
def test_no_score_is_above_its_bound_and_none_far_below(size: int, heavy: bool) -> None:
    rng = np.random.default_rng(size)
    rows = rng.standard_normal((400, size))
    if heavy:
        rows = rows**5
    rows, probe = unit(rows), unit(rng.standard_normal(size) ** (5 if heavy else 1))
    rows[:40] = unit(probe + 1e-3 * rng.standard_normal((40, size)))
    codes = quantise(rows)
    coded = quantise_probe(probe)
    dots = Product()(coded, np.ascontiguousarray(codes.codes.T), codes.sums)
    np.testing.assert_array_equal(dots, codes.codes.astype(np.int64) @ coded.codes.astype(np.int64))
    limit = bounds(coded, dots, codes.scale, codes.error)
    exact = rows.astype(np.float64) @ probe.astype(np.float64)
    assert (limit >= exact).all()
    slack = 2 * (codes.error + coded.error) * 1.1 + 1e-4
    assert (limit - exact <= slack).all()
    if size == 512 and not heavy:
        assert (limit - exact).max() < 0.06


def test_the_largest_codes_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """All codes at their ends: 16-bit sums of two products would saturate if a probe had eight bits."""
    ones = np.ones(512)
    rows = unit(np.stack([ones, -ones, np.tile([1, -1], 256)]))
    codes = quantise(rows)
    for probe in (unit(ones), unit(-ones)):
        coded = quantise_probe(probe)
        wanted = codes.codes.astype(np.int64) @ coded.codes.astype(np.int64)
        fast = Product()
        assert fast.name == "onnxruntime"
        np.testing.assert_array_equal(fast(coded, np.ascontiguousarray(codes.codes.T), codes.sums), wanted)
        with monkeypatch.context() as patch:
            patch.setattr("edgeface_runtime.gallery_codes._session", lambda: None)
            slow = Product()
            assert slow.name == "numpy"
            np.testing.assert_array_equal(slow(coded, np.ascontiguousarray(codes.codes.T), codes.sums), wanted)


def test_the_graph_is_a_valid_onnx_file() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(matmul_graph())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMulInteger"]
