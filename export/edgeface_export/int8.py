"""FP32 graph -> INT8 graph with explicit QuantizeLinear and DequantizeLinear nodes, from ranges measured on faces.

Two schemes of one calibration, because no one form is both accepted by TensorRT and fast on a CPU:

- tensorrt: signed symmetric activations, per-channel signed weights, FP32 bias, a pair of nodes of its own in front
  of every layer and none behind it. TensorRT refuses ONNX Runtime's default, a quantised INT32 bias.
- cpu: unsigned activations, per-channel signed weights of 7 bits. With 8 the AVX2 kernels saturate (cosine .989 in
  place of .999 on a quarter-width network), and 7 cost no time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgeface_calibration.int8_ranges import LAYERS, Ranges, silent
from edgeface_export.parity import load_graph
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import write_bytes

__all__ = ["SCHEMES", "Int8Report", "layers", "to_int8"]

SCHEMES: dict[str, dict[str, Any]] = {
    "cpu": {"activation": "QUInt8", "reduce_range": True, "options": {}},
    "tensorrt": {
        "activation": "QInt8",
        "reduce_range": False,
        "options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "DedicatedQDQPair": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": False,
            "OpTypesToExcludeOutputQuantization": list(LAYERS),
        },
    },
}
"""For whom -> ONNX Runtime's settings."""


@dataclass(frozen=True)
class Int8Report:
    """What the conversion did."""

    path: Path
    size_bytes: int
    scheme: str
    quantized: int
    """Layers that compute in INT8."""
    kept_fp32: tuple[str, ...]
    """Layers that were left in FP32."""


def layers(proto: onnx.ModelProto) -> list[str]:
    """Names of the nodes that can be quantised, in order."""
    return [node.name for node in proto.graph.node if node.op_type in LAYERS]


def to_int8(
    source: Path, target: Path, ranges: Ranges, scheme: str = "tensorrt", keep: Collection[str] = ()
) -> Int8Report:
    """Convert the FP32 ONNX file `source` to INT8 at `target`, atomically.

    Args:
        ranges: measured on `source`.
        scheme: key of SCHEMES.
        keep: names of layers that stay FP32.

    Raises:
        InputError: an unknown scheme, a layer the graph has not, or `target` cannot be written.
        ArtefactError: `source` is no readable FP32 graph, or the ranges are of another.
    """
    if scheme not in SCHEMES:
        raise InputError(f"unknown INT8 scheme {scheme!r}: choose one of {', '.join(SCHEMES)}")
    proto = onnx.shape_inference.infer_shapes(load_graph(source))
    found = layers(proto)
    unknown = sorted(set(keep) - set(found))
    if unknown:
        raise InputError(f"{source.name} has no layer {unknown[0]!r} to keep in FP32: it has {', '.join(found)}")
    if any(node.op_type == "QuantizeLinear" for node in proto.graph.node):
        raise ArtefactError(f"{source} already is INT8: convert the FP32 file")
    wanted = [name for name in found if name not in set(keep)]
    quantized = _quantize(proto, ranges, scheme, wanted, source) if wanted else proto
    used = {node.domain for node in quantized.graph.node}
    imports = [entry for entry in quantized.opset_import if entry.domain in used]
    del quantized.opset_import[:]
    quantized.opset_import.extend(imports)
    quantized.producer_name, quantized.producer_version = proto.producer_name, proto.producer_version
    onnx.checker.check_model(quantized, full_check=True)
    data = quantized.SerializeToString(deterministic=True)
    write_bytes(target, data)
    return Int8Report(target, len(data), scheme, len(wanted), tuple(name for name in found if name in set(keep)))


def _quantize(
    proto: onnx.ModelProto, ranges: Ranges, scheme: str, wanted: list[str], source: Path
) -> onnx.ModelProto:
    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    values = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.values.items()}
    settings = SCHEMES[scheme]
    try:
        with silent():
            quantizer = QDQQuantizer(
                onnx.ModelProto.FromString(proto.SerializeToString()),
                True,
                settings["reduce_range"],
                QuantType.QInt8,
                QuantType[settings["activation"]],
                TensorsData(CalibrationMethod.MinMax, values),
                wanted,
                [],
                list(LAYERS),
                dict(settings["options"]),
            )
            quantizer.quantize_model()
        quantizer.model.topological_sort()
    except (ValueError, KeyError) as exc:
        raise ArtefactError(
            f"{source.name} cannot be quantised ({' '.join(str(exc).split())[:200]}): measure its ranges again"
        ) from exc
    made: onnx.ModelProto = quantizer.model.model
    return made
