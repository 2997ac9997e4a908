"""Graphs to time: a unit of a network on its own, and a whole network made of the same units.

Operators are those of an exported network (`edgeface_export.onnx_export`: batch normalisation folded, PReLU as a
product and a maximum), which a test compares. Weights are constants that the file only describes, so a graph takes a
few kilobytes; backends fold them when they load it, and their speed does not depend on the values.

A unit stands between a 1x1 convolution from three channels, so that every graph takes (N, 3, H, W), and a global
average pool, so that no large output is copied. The same without the unit is its baseline, to be subtracted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeface.models.units import Unit

__all__ = ["baseline_graph", "network_graph", "unit_graph"]

OPSET, IR_VERSION = 18, 8
BIAS, SLOPE = 0.01, 0.25


class _Graph:
    """Nodes as they are added; every method takes and gives names of tensors."""

    def __init__(self, precision: str) -> None:
        self.half = precision == "fp16"
        self.type = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"node/{name}", **attributes))
        return name

    def values(self, array: np.ndarray) -> str:
        """A small constant, once however often it is used."""
        name = f"{array.dtype}_" + "_".join(str(value) for value in array.flat)
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def filled(self, value: float, *shape: int) -> str:
        """A constant of one value, of which the file holds the shape alone."""
        filling = helper.make_tensor("value", self.type, [1], [value])
        return self.add("ConstantOfShape", self.values(np.array(shape, np.int64)), value=filling)

    def conv(self, x: str, inputs: int, filters: int, kernel: int | tuple[int, int], stride: int = 1, groups: int = 1,
             pad: int | None = None) -> str:  # fmt: skip
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        taps = inputs // groups * height * width
        weight = self.filled(1 / taps, filters, inputs // groups, height, width)
        around = [height // 2 if pad is None else pad] * 4
        return self.add(
            "Conv", x, weight, self.filled(BIAS, filters), kernel_shape=[height, width], strides=[stride] * 2,
            pads=around, group=groups,
        )  # fmt: skip

    def prelu(self, x: str, channels: int) -> str:
        return self.add("Max", x, self.add("Mul", x, self.filled(SLOPE, channels, 1, 1)))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        flat = self.add("Reshape", x, self.values(np.array([-1, inputs], np.int64)), allowzero=0)
        return self.add("Gemm", flat, self.filled(1 / inputs, outputs, inputs), self.filled(BIAS, outputs), transB=1)

    def norm(self, x: str, channels: int) -> str:
        ones, zeros = self.filled(1.0, channels), self.filled(0.0, channels)
        return self.add("BatchNormalization", x, ones, zeros, zeros, ones)

    def up(self, x: str) -> str:
        scales = self.values(np.array([1, 1, 2, 2], np.float32))
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", x, "", scales, **attributes)

    def open(self) -> str:
        return self.add("Cast", "input", to=self.type) if self.half else "input"

    def write(self, results: dict[str, tuple[str, int]], size: tuple[int, int]) -> bytes:
        """The file: `results` are output name -> (tensor, rank)."""
        for name, (tensor, _) in results.items():
            to: dict[str, Any] = {"to": TensorProto.FLOAT} if self.half else {}
            kind = "Cast" if self.half else "Identity"
            self.nodes.append(helper.make_node(kind, [tensor], [name], name=f"node/{name}", **to))
        graph = helper.make_graph(
            self.nodes,
            "timed",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, *size])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *[None] * (rank - 1)])
                for name, (_, rank) in results.items()
            ],
            list(self.constants.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edgeface"
        )
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


Build = Callable[[_Graph, Unit, str], str]


def _stem(graph: _Graph, unit: Unit, x: str) -> str:
    (channels,) = unit.widths
    x = graph.prelu(graph.conv(x, 3, channels, 3, unit.stride), channels)
    if unit.kind == "stem":
        return x
    return graph.prelu(graph.conv(x, channels, channels, 3, groups=channels), channels)


def _block(graph: _Graph, unit: Unit, x: str) -> str:
    kind, first = unit.kind.split()[0], unit.kind.endswith("first")
    before, inner = unit.widths[:2]
    after = unit.widths[-1] if first else before
    if kind == "inverted":
        y = graph.prelu(graph.conv(x, before, inner, 1), inner)
        y = graph.conv(graph.prelu(graph.conv(y, inner, inner, 3, unit.stride, inner), inner), inner, after, 1)
        return y if first else graph.add("Add", y, x)
    early = kind == "basic"  # strides in its first convolution, bottle in its second
    y = graph.prelu(graph.conv(x, before, inner, 3 if early else 1, unit.stride if early else 1), inner)
    y = graph.conv(y, inner, after, 3, 1 if early else unit.stride)
    y = graph.add("Add", y, graph.conv(x, before, after, 1, unit.stride) if first else x)
    return graph.prelu(y, after) if kind == "basic" else y


def _top(graph: _Graph, unit: Unit, x: str) -> str:
    return graph.prelu(graph.conv(x, unit.widths[0], unit.widths[1], 1), unit.widths[-1])


def _lateral(graph: _Graph, unit: Unit, x: str) -> str:
    x = graph.conv(x, unit.widths[0], unit.widths[1], 1)
    return graph.up(x) if unit.kind == "lateral up" else x


def _smooth(graph: _Graph, unit: Unit, x: str) -> str:
    return graph.conv(x, unit.widths[0], unit.widths[1], 3)


def _decode(graph: _Graph, unit: Unit, x: str) -> str:
    channels = unit.widths[-1]
    return graph.norm(graph.prelu(graph.conv(x, unit.widths[0], channels, 3, 2), channels), channels)


def _mask(graph: _Graph, unit: Unit, x: str) -> str:
    last = 1 if unit.kind == "mask spatial" else unit.widths[-1]
    x = graph.conv(x, unit.widths[0], last, 3, 2)
    if unit.kind == "mask vector":
        x = graph.linear(x, last * unit.size[0] // 2 * unit.size[1] // 2, unit.fixed)
    return graph.add("Sigmoid", x)


def _head(graph: _Graph, unit: Unit, x: str) -> str:
    (channels,), (height, width) = unit.widths, unit.size
    if unit.kind == "head pool":
        x = graph.add("GlobalAveragePool", x)
    elif unit.kind == "head depthwise":
        x = graph.conv(x, channels, channels, unit.size, groups=channels, pad=0)
    return graph.linear(x, channels * (height * width if unit.kind == "head flatten" else 1), unit.fixed)


UNITS: dict[str, Build] = {
    **dict.fromkeys(("stem", "stem depthwise"), _stem),
    **{kind + end: _block for kind in ("bottle", "basic", "inverted") for end in ("", " first")},
    "top": _top,
    **dict.fromkeys(("lateral", "lateral up"), _lateral),
    "smooth": _smooth,
    "decode": _decode,
    **dict.fromkeys(("mask decoder", "mask spatial", "mask vector"), _mask),
    **dict.fromkeys(("head flatten", "head pool", "head depthwise"), _head),
}
"""Kind of a unit -> what writes its nodes."""


def unit_graph(unit: Unit, precision: str) -> bytes:
    """The unit between its ends, as an ONNX file.

    Args:
        precision: fp32, or fp16 for a graph that computes in half; input and output are float32 in both.
    """
    graph = _Graph(precision)
    x = graph.open()
    if not unit.kind.startswith("stem"):
        x = graph.conv(x, 3, unit.widths[0], 1)
    x = UNITS[unit.kind](graph, unit, x)
    flat = unit.kind.startswith("head") or unit.kind == "mask vector"
    return graph.write({"output": (x, 2) if flat else (graph.add("GlobalAveragePool", x), 4)}, unit.size)


def baseline_graph(size: tuple[int, int], channels: int, precision: str) -> bytes:
    """The ends alone, for `channels` between them; 0: the pool alone, a stem's baseline."""
    graph = _Graph(precision)
    x = graph.open()
    x = graph.conv(x, 3, channels, 1) if channels else x
    return graph.write({"output": (graph.add("GlobalAveragePool", x), 4)}, size)


def network_graph(parts: list[Unit], precision: str) -> bytes:
    """A whole network from its units, in the order of `edgeface.models.units.units`."""
    graph = _Graph(precision)
    trunk = [unit for unit in parts if not unit.kind.startswith(("lateral", "smooth", "decode", "mask", "head"))]
    x, maps = graph.open(), []
    for unit, after in zip(trunk, [*trunk[1:], None], strict=True):
        x = UNITS[unit.kind](graph, unit, x)
        if after is None or after.kind.endswith("first"):  # a stage, or the stem, ends here
            maps.append(x)
    mask_parts = [unit for unit in parts if unit.kind.startswith(("smooth", "decode", "mask"))]
    mask = _pyramid(graph, [unit for unit in parts if unit.kind.startswith("lateral")], maps[-3:])
    for unit in mask_parts:
        mask = UNITS[unit.kind](graph, unit, mask)
    vector = bool(mask_parts) and mask_parts[-1].kind == "mask vector"
    x = UNITS[parts[-1].kind](graph, parts[-1], graph.add("Mul", x, mask) if mask and not vector else x)
    results: dict[str, tuple[str, int]] = {}
    if mask:
        x = graph.add("Mul", x, mask) if vector else x
        axes = graph.values(np.array([1] if vector else [1, 2, 3], np.int64))
        share = graph.add("ReduceMean", mask, axes, keepdims=0)
        results["covered_share"] = (graph.add("Sub", graph.filled(1.0, 1), share), 1)
    norm = graph.add("ReduceL2", x, graph.values(np.array([1], np.int64)), keepdims=1)
    return graph.write({"embedding": (graph.add("Div", x, norm), 2), **results}, parts[0].size)


def _pyramid(graph: _Graph, laterals: list[Unit], maps: list[str]) -> str:
    """The pyramid's finest level from three maps; nothing where there is no mask."""
    level = ""
    for unit, source in zip(laterals[::-1], maps[::-1], strict=False):
        own = graph.conv(source, unit.widths[0], unit.widths[1], 1)
        own = graph.add("Add", own, level) if level else own
        level = graph.up(own) if unit.kind == "lateral up" else own
    return level
