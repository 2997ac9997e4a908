"""The comparison: the network's input by hand, the gate, and files that are no graphs."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeface.models import FaceNet, iresnet18
from edgeface_export.parity import compare, cosines, load_graph, to_input
from edgeface_runtime.errors import ArtefactError, GateError, InputError

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def test_input_is_rgb_in_minus_one_to_one() -> None:
    face = np.zeros((1, 112, 96, 3), np.uint8)
    face[0, 2, 3] = (0, 51, 255)  # blue, green, red
    made = to_input(face)
    assert made.shape == (1, 3, 112, 96) and made.dtype == np.float32
    np.testing.assert_allclose(made[0, :, 2, 3], [1.0, -0.6, -1.0], atol=1e-6)


def test_cosines_by_hand() -> None:
    values = cosines(np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [-2.0, 0.0], [1.0, 0.0]]))
    assert values[:2] == pytest.approx([0.96, -1.0]) and np.isnan(values[2])


def test_the_graph_is_the_network(masked: FaceNet, masked_onnx: Path, faces: np.ndarray) -> None:
    masked.train()
    parity = compare(masked, masked_onnx, faces)
    assert masked.training
    masked.eval()
    assert 0.99999 < parity.cosine_min <= parity.cosine_mean <= 1 + 1e-9
    assert parity.covered_share_max_difference is not None and parity.covered_share_max_difference < 1e-5
    assert parity.to_dict()["faces"] == 6


def test_another_network_misses_the_gate(masked: FaceNet, masked_onnx: Path, faces: np.ndarray) -> None:
    other = copy.deepcopy(masked)
    with torch.no_grad():
        other.stages[0][0].conv2.weight.mul_(1.5)
    with pytest.raises(
        GateError, match=r"cosine 0\.\d+ at least, 0\.\d+ on average over 6 faces, below the gate 0\.9999"
    ):
        compare(other, masked_onnx, faces)


def test_not_a_number_misses_the_gate(masked: FaceNet, masked_onnx: Path, faces: np.ndarray) -> None:
    broken = copy.deepcopy(masked)
    with torch.no_grad():
        broken.stem[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(GateError, match="cosine nan"):
        compare(broken, masked_onnx, faces)


def test_outputs_must_agree(masked_onnx: Path, faces: np.ndarray) -> None:
    with pytest.raises(ArtefactError, match="covered_share"):
        compare(FaceNet(iresnet18(0.125)).eval(), masked_onnx, faces)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((0, 112, 96, 3), np.uint8), np.zeros((1, 112, 96, 3), np.float32), np.zeros((112, 96, 3), np.uint8)],
    ids=["none", "float", "one picture"],
)
def test_bad_faces(bad: np.ndarray, masked: FaceNet, masked_onnx: Path) -> None:
    with pytest.raises(InputError, match="faces"):
        compare(masked, masked_onnx, bad)


def test_files_that_are_no_graphs(masked: FaceNet, masked_onnx: Path, faces: np.ndarray, tmp_path: Path) -> None:
    text, cut = tmp_path / "text.onnx", tmp_path / "cut.onnx"
    text.write_text("hello\n")
    cut.write_bytes(masked_onnx.read_bytes()[:5000])
    for path in (text, cut):
        with pytest.raises(ArtefactError) as caught:
            load_graph(path)
        assert "\n" not in str(caught.value)
        with pytest.raises(ArtefactError):
            compare(masked, path, faces)
    with pytest.raises(InputError, match="not found"):
        load_graph(tmp_path / "missing.onnx")
