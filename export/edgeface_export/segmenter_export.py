"""A segmenter as one ONNX graph: BN folded, the sigmoid in the graph, dynamic batch.

Input `input` (N, 3, H, W) float32 RGB in [-1, 1], output `covered` (N, 1, H, W) float32, the probability that a pixel
is covered.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgeface.models.segmenter import Segmenter
from edgeface_export.graph import BATCH, run_graph, write_graph
from edgeface_export.parity import to_input
from edgeface_runtime.errors import GateError

__all__ = ["GATE", "SegmenterParity", "compare_segmenter", "export_segmenter"]

GATE = 1e-3
"""Largest difference of a probability that passes."""


@dataclass(frozen=True)
class SegmenterParity:
    """How near the graph is to the network."""

    difference_max: float
    """Largest absolute difference of a probability."""
    pixels_changed: float
    """Share of pixels that fall on another side of .5."""
    faces: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)


class Deployed(nn.Module):
    """The segmenter as a device runs it."""

    def __init__(self, net: Segmenter) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.net(x))


def export_segmenter(model: Segmenter, path: Path, opset: int = 18) -> Path:
    """Write `model` (evaluation mode is taken, the object is not changed) to `path`, atomically; returns `path`.

    Raises:
        InputError: `opset` is outside 18..20, or `path` cannot be written.
    """
    sample = torch.zeros(2, 3, *model.input_size)
    write_graph(Deployed(_folded(model)).eval(), sample, path, model.spec.arch, ("covered",), opset)
    return path


def compare_segmenter(model: Segmenter, graph: Path, faces: np.ndarray, gate: float = GATE) -> SegmenterParity:
    """Compare `model` and the ONNX file `graph` on `faces` (N, H, W, 3) uint8 BGR, on ONNX Runtime's CPU provider.

    Raises:
        GateError: a probability differs by more than `gate`, or is not a number.
        InputError: no faces, of the wrong shape, or no such file.
        ArtefactError: the graph does not run on them.
        MissingExtraError: onnxruntime is not installed.
    """
    rows = to_input(faces)
    found = run_graph(graph, rows, "covered")
    net = Deployed(copy.deepcopy(model).cpu()).eval()
    with torch.no_grad():
        batches = [net(torch.from_numpy(rows[start : start + BATCH])).numpy() for start in range(0, len(rows), BATCH)]
    wanted = np.concatenate(batches)
    difference = float(np.abs(wanted - found).max())
    parity = SegmenterParity(difference, float(((wanted > 0.5) != (found > 0.5)).mean()), len(faces))
    if not difference <= gate:
        raise GateError(
            f"{graph.name} differs from the segmenter: a probability by {difference:.2g}, above the gate {gate:g}"
        )
    return parity


def _folded(model: Segmenter) -> Segmenter:
    """A copy with every BN in the convolution before it, exact up to rounding (computed in float64)."""
    net = copy.deepcopy(model).cpu().double().eval()
    for module in net.modules():
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d):
            conv = module[0]
            assert isinstance(conv, nn.Conv2d)
            module[0] = fuse_conv_bn_eval(conv, module[1])
            module[1] = nn.Identity()
    return net.float().eval()
