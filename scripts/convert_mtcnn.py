"""Convert the three MTCNN networks of the `mtcnn` package to ONNX, without TensorFlow.

    python scripts/convert_mtcnn.py [--out runtime/edgeface_runtime/mtcnn]

The package (version 1.0.0, MIT) keeps each network as a list of Keras weight tensors. What this script knows about
them, and the shipped networks no longer need to:

* convolutions are HWIO and become OIHW;
* the dense layer after the flatten counts its inputs in the order (W, H, C); here they are (C, H, W);
* softmax over (no face, face) is the sigmoid of the difference, so one channel is kept, and the sigmoid is left to
  the caller, who needs it for few windows only;
* O-Net gives x1..x5, y1..y5; the columns are interleaved: x1, y1, x2, ...;
* "same" max pooling pads at the far edge only, which is ONNX's `ceil_mode`.

Three things make the graphs fast in ONNX Runtime, at the same values:

* PReLU is written x + (1 - slope) relu(-x), each a product per channel: ONNX Runtime keeps those in the blocked
  layout of its convolutions and fuses them; its own PRelu took a third of each network's time and more;
* convolutions have a multiple of 8 channels (some are zero), or the pooling after them leaves that layout;
* (x - 127.5) / 128 and the order of the colours are in the first convolution's weights; one layer gives all outputs.

Input: `input`, BGR, [0, 255], NCHW. Output: `output`, channels first box (offsets of x1, y1, x2, y2 in widths and
heights of the window), then the logit of a face and, for O-Net, the landmarks as a share of the window. The weight
files are pickles of the pinned package; they are read here, once, and never by edgeface. The same package gives the
same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeface_runtime.files import write_bytes

VERSION = "1.0.0"
OPSET = 17
IR_VERSION = 8  # ONNX Runtime 1.14 and later read it
ALIGN = 8
"""Channels to a block in ONNX Runtime's layout on CPUs with AVX2."""
DEFAULT_OUT = Path(__file__).resolve().parents[1] / "runtime" / "edgeface_runtime" / "mtcnn"

Array = NDArray[np.float32]


@dataclass
class Graph:
    """An ONNX graph under construction; each method adds one layer and returns the name of its output."""

    weights: list[Array]
    """Keras tensors not used yet, in the package's order."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    channels: int = 3
    """Of the last convolution's output, its zero ones included."""

    def take(self) -> Array:
        return self.weights.pop(0)

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, name: str, kernel: Array, bias: Array) -> str:
        weight = self.constant(f"{name}.weight", kernel.transpose(3, 2, 0, 1).astype(np.float32))
        size = list(kernel.shape[:2])
        bias = bias.astype(np.float32)
        return self.node(
            "Conv", name, [x, weight, self.constant(f"{name}.bias", bias)], kernel_shape=size, strides=[1, 1]
        )

    def conv_prelu(self, x: str, name: str) -> str:
        kernel, bias, slope = self.take(), self.take(), self.take().ravel()
        if x == "input":
            kernel, bias = raw_pixels(kernel, bias)
        channels = -(-len(bias) // ALIGN) * ALIGN
        more = channels - len(bias)
        kernel = np.pad(kernel, ((0, 0), (0, 0), (0, self.channels - kernel.shape[2]), (0, more)))
        self.channels = channels
        x = self.conv(x, name, kernel, np.pad(bias, (0, more)))
        return self.prelu(x, name, np.pad(slope, (0, more)).reshape(-1, 1, 1))

    def prelu(self, x: str, name: str, slope: Array) -> str:
        minus = self.constant(f"{name}.minus", np.full_like(slope, -1))
        rest = self.constant(f"{name}.rest", 1 - slope)
        low = self.node("Relu", f"{name}.low", [self.node("Mul", f"{name}.negated", [x, minus])])
        return self.node("Add", f"{name}.prelu", [self.node("Mul", f"{name}.lift", [low, rest]), x])

    def pool(self, x: str, name: str, size: int, same: bool) -> str:
        return self.node("MaxPool", name, [x], kernel_shape=[size, size], strides=[2, 2], ceil_mode=int(same))

    def dense(self, x: str, name: str, kernel: Array, bias: Array) -> str:
        weight = self.constant(f"{name}.weight", kernel)
        return self.node("Gemm", name, [x, weight, self.constant(f"{name}.bias", bias)])

    def flatten_dense_prelu(self, x: str, name: str, side: int) -> str:
        kernel, bias, slope = self.take(), self.take(), self.take()
        channels = kernel.shape[0] // (side * side)
        kernel = kernel.reshape(side, side, channels, -1).transpose(2, 1, 0, 3).reshape(kernel.shape)
        x = self.dense(self.node("Flatten", f"{name}.flatten", [x], axis=1), name, kernel, bias)
        return self.prelu(x, name, slope)


def raw_pixels(kernel: Array, bias: Array) -> tuple[Array, Array]:
    """The first convolution (RGB, (x - 127.5) / 128) as one of BGR in [0, 255]."""
    exact = kernel.astype(np.float64) / 128
    return exact[:, :, ::-1].astype(np.float32), (bias - 127.5 * exact.sum(axis=(0, 1, 2))).astype(np.float32)


def face_only(tensor: Array) -> Array:
    """Keep, of the last axis (no face, face), the difference: its sigmoid is the softmax's second value."""
    return tensor[..., 1:] - tensor[..., :1]


def build_pnet(g: Graph) -> list[int | str]:
    x = g.pool(g.conv_prelu("input", "conv1"), "pool1", 2, same=True)
    x = g.conv_prelu(g.conv_prelu(x, "conv2"), "conv3")
    box, box_bias, face, face_bias = (g.take() for _ in range(4))
    g.conv(x, "output", np.concatenate([box, face_only(face)], -1), np.concatenate([box_bias, face_only(face_bias)]))
    return ["n", 5, "rows", "columns"]


def build_rnet(g: Graph) -> list[int | str]:
    x = g.pool(g.conv_prelu("input", "conv1"), "pool1", 3, same=True)
    x = g.pool(g.conv_prelu(x, "conv2"), "pool2", 3, same=False)
    x = g.flatten_dense_prelu(g.conv_prelu(x, "conv3"), "dense4", side=3)
    box, box_bias, face, face_bias = (g.take() for _ in range(4))
    g.dense(x, "output", np.concatenate([box, face_only(face)], -1), np.concatenate([box_bias, face_only(face_bias)]))
    return ["n", 5]


def build_onet(g: Graph) -> list[int | str]:
    x = g.pool(g.conv_prelu("input", "conv1"), "pool1", 3, same=True)
    x = g.pool(g.conv_prelu(x, "conv2"), "pool2", 3, same=False)
    x = g.pool(g.conv_prelu(x, "conv3"), "pool3", 2, same=True)
    x = g.flatten_dense_prelu(g.conv_prelu(x, "conv4"), "dense5", side=3)
    box, box_bias, points, points_bias, face, face_bias = (g.take() for _ in range(6))
    order = np.arange(10).reshape(2, 5).T.ravel()  # x1..x5,y1..y5 -> x1,y1..x5,y5
    kernel = np.concatenate([box, face_only(face), points[:, order]], -1)
    g.dense(x, "output", kernel, np.concatenate([box_bias, face_only(face_bias), points_bias[order]]))
    return ["n", 15]


NETS = {
    "pnet": (build_pnet, ("height", "width")),
    "rnet": (build_rnet, (24, 24)),
    "onet": (build_onet, (48, 48)),
}


def convert(name: str, weights: list[Array]) -> onnx.ModelProto:
    """Build the ONNX model of one network ("pnet", "rnet" or "onet") from its Keras weight list."""
    build, (height, width) = NETS[name]
    graph = Graph(list(weights))
    output = build(graph)
    if graph.weights:
        raise SystemExit(f"{name}: {len(graph.weights)} weight tensors were left over")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, height, width])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, output)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgeface",
        doc_string=f"MTCNN {name} of the mtcnn package {VERSION} (MIT); input BGR 0..255",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def package_file(name: str) -> Path:
    """A file of the installed `mtcnn` package by its name; importing the package would need TensorFlow."""
    for file in importlib.metadata.files("mtcnn") or []:
        if file.name == name:
            return Path(str(file.locate()))
    raise SystemExit(f"the installed mtcnn package carries no {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert the mtcnn package's networks to ONNX.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder to write to")
    out: Path = parser.parse_args().out
    if (found := importlib.metadata.version("mtcnn")) != VERSION:
        raise SystemExit(f"mtcnn {found} is installed, {VERSION} is needed: pip install mtcnn=={VERSION}")
    for name in NETS:
        model = convert(name, joblib.load(package_file(f"{name}.lz4")))
        data = model.SerializeToString(deterministic=True)
        write_bytes(out / f"{name}.onnx", data)
        print(f"wrote {out / name}.onnx ({len(data):,} bytes)")
    write_bytes(out / "LICENSE", package_file("LICENSE").read_bytes())
    print(f"wrote {out / 'LICENSE'}")


if __name__ == "__main__":
    main()
