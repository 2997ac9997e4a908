"""The segmenter's graph gives the segmenter's probabilities."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeface.data.synthetic import synth_face
from edgeface.models.segmenter import Segmenter, SegmenterSpec, build_segmenter_spec
from edgeface_export.segmenter_export import compare_segmenter, export_segmenter
from edgeface_runtime.errors import GateError, InputError

FACES = np.stack([synth_face(number, 0) for number in range(3)])


SPECS = {
    "light": build_segmenter_spec("unet-light", width=0.5),
    "plain": SegmenterSpec("tiny", "plain", (8,) * 5, (1,) * 5, 1),
}
"""The exporter takes its time by the number of layers: the plain one has few."""


def lived_in(name: str) -> Segmenter:
    """With BN scales, shifts and statistics as after training, so that a wrong fold shows."""
    torch.manual_seed(0)
    model = Segmenter(SPECS[name])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    with torch.no_grad():
        for _ in range(4):
            model(torch.rand(4, 3, 112, 96) * 2 - 1)
    return model.eval()


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Path]:
    model = lived_in("light")
    return model, export_segmenter(model, tmp_path_factory.mktemp("graph") / "segmenter.onnx")


def test_the_graph(light: tuple[Segmenter, Path]) -> None:
    graph = onnx.load(str(light[1])).graph
    assert [value.name for value in graph.input] == ["input"]
    assert [value.name for value in graph.output] == ["covered"]
    shape = graph.output[0].type.tensor_type.shape.dim
    assert shape[0].dim_param and [side.dim_value for side in shape][1:] == [1, 112, 96]
    assert not [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert "encoder.1.0.0/Conv" in {node.name for node in graph.node}


def test_parity_of_the_light_one(light: tuple[Segmenter, Path]) -> None:
    parity = compare_segmenter(*light, FACES)
    assert parity.difference_max < 1e-4 and parity.pixels_changed < 1e-3 and parity.faces == 3


def test_the_plain_one(tmp_path: Path) -> None:
    """Parity; the same weights give the same bytes; exporting does not change the network."""
    model = lived_in("plain")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (export_segmenter(model, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert compare_segmenter(model, first, FACES).difference_max < 1e-4
    assert first.read_bytes() == second.read_bytes()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_network_is_noticed(light: tuple[Segmenter, Path], tmp_path: Path) -> None:
    other = copy.deepcopy(light[0])
    with torch.no_grad():
        other.out.bias += 0.5
    with pytest.raises(GateError, match="differs from the segmenter"):
        compare_segmenter(other, light[1], FACES)
    with pytest.raises(InputError, match="--opset"):
        export_segmenter(other, tmp_path / "other.onnx", opset=17)
