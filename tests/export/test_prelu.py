"""PReLU in its faster form: the same values, slopes above 1 and below 0 among them, and no PRelu left in a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgeface.models import FaceNet, build_spec, iresnet18
from edgeface_export.onnx_export import export_onnx
from edgeface_export.prelu import MaxPReLU, replace_prelus


@pytest.mark.parametrize("slopes", [(0.25, 1.0, 0.0, -0.5), (0.25, 1.0, 1.5, -0.5)])
def test_the_same_values(slopes: tuple[float, ...]) -> None:
    prelu = nn.PReLU(4)
    with torch.no_grad():
        prelu.weight.copy_(torch.tensor(slopes))
    x = torch.tensor([-2.0, -0.3, 0.0, 0.7, 3.0]).repeat(2, 4, 1)[:, :, None, :]
    with torch.no_grad():
        assert torch.equal(MaxPReLU(prelu)(x), prelu(x))
    by_hand = torch.tensor([[-2 * a, -0.3 * a, 0.0, 0.7, 3.0] for a in slopes])
    assert torch.allclose(MaxPReLU(prelu)(x)[1, :, 0], by_hand)


def test_a_slope_above_one_costs_two_operations_more() -> None:
    net = nn.Sequential(nn.PReLU(3), nn.Sequential(nn.PReLU(3)))
    with torch.no_grad():
        net[0].weight[1] = 1.5
    replace_prelus(net)
    first, second = net[0], net[1].get_submodule("0")
    assert isinstance(first, MaxPReLU) and isinstance(second, MaxPReLU)
    assert first.sign is not None and first.sign.flatten().tolist() == [1, -1, 1]
    assert second.sign is None


def test_an_exported_graph_has_none(tmp_path: Path, make_net: Callable[..., FaceNet]) -> None:
    export_onnx(make_net(iresnet18(0.125)), tmp_path / "net.onnx")
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node)
    prelus = sum(isinstance(module, nn.PReLU) for module in FaceNet(build_spec("iresnet18", 0.125)).modules())
    assert counts["PRelu"] == 0
    assert counts["Max"] == prelus > 0
