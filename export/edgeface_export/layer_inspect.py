"""What an engine computes in, as TensorRT's engine inspector tells it in JSON, and whether that was asked for.

Two shapes are known. TensorRT's own kernels are called CaskConvolution and the like, name the type of their weights,
and give formats in words ("Row major linear FP32"); those of its compiler are called gemm, conv or kgen and give a
bare type ("Half"). Fused layers list the ONNX nodes they were made from in `Metadata`, or in a name with " + ".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeface_export.layer_types import NetworkTypes
from edgeface_runtime.errors import EngineError

__all__ = ["EngineLayer", "LayerReport", "judge_layers", "read_layers"]

UNKNOWN = "unknown"
KINDS = (
    ("bf16", r"bf16|bfloat"),
    ("fp8", r"fp8|float8"),
    ("fp16", r"fp16|half|float16"),
    ("uint8", r"uint8"),
    ("int8", r"int8"),
    ("int4", r"int4"),
    ("int32", r"int32"),
    ("int64", r"int64"),
    ("bool", r"bool"),
    ("fp32", r"fp32|tf32|float"),
)
"""Ours -> what TensorRT may call it; the first that is found counts."""
COMPUTES = re.compile(r"conv(?!ert)|correlation|gemm|mat(rix)?_?mul|fullyconnected", re.IGNORECASE)
"""Kinds of layers that are convolutions or matrix products."""
SHOWN = 3
"""Names that stand in a message."""


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine."""

    name: str
    """As the engine calls it."""
    precision: str
    """fp32, fp16, int8, ...; `unknown` where the inspector does not say."""
    computes: bool
    """Whether it is a convolution or a matrix product."""
    nodes: tuple[str, ...]
    """ONNX nodes it was made from."""


@dataclass(frozen=True)
class LayerReport:
    """What an engine computes in, once it was judged to be what was asked for."""

    layers: Mapping[str, int]
    """Precision -> layers."""
    fp32: tuple[str, ...]
    """Convolutions and matrix products that compute in FP32."""
    wider: tuple[str, ...]
    """Those that the graph has in INT8 and that compute in something wider."""


def read_layers(text: str) -> tuple[EngineLayer, ...]:
    """The layers of an inspector's JSON, constants left out.

    Raises:
        ValueError: it is not such JSON.
    """
    data = json.loads(text, strict=False)  # node names are joined by control characters
    entries = data.get("Layers") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise ValueError("no list of layers")
    layers = []
    for entry in entries:
        layer = _details(entry)
        if str(layer.get("LayerType", "")).lower() != "constant":
            layers.append(_layer(layer))
    return tuple(layers)


def judge_layers(layers: Sequence[EngineLayer], network: NetworkTypes, precision: str) -> LayerReport | None:
    """Compare an engine's layers with the network it was built from; None where the inspector names no types.

    Raises:
        EngineError: INT8 was asked for and nothing computes in it; or FP16 was, and something computes in FP32 that
            the graph does not keep in FP32.
    """
    computing = [layer for layer in layers if layer.computes and layer.precision != UNKNOWN]
    if not computing:
        return None
    fp32 = [layer for layer in computing if layer.precision == "fp32"]
    if "int8" in precision and "int8" in network.computing.values():
        found = Counter(layer.precision for layer in computing)
        if not found["int8"]:
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
            raise EngineError(
                f"{precision} was asked for, and no convolution of the engine computes in INT8 ({told}): "
                "this GPU or TensorRT does not do it: give --precision fp16"
            )
    if "fp16" in precision:
        strayed = [layer.name for layer in fp32 if not _kept(layer, network)]
        if strayed:
            raise EngineError(
                f"{precision} was asked for, and {len(strayed)} of {len(computing)} convolutions of the engine are "
                f"in FP32 against the graph ({_some(strayed)}): try another --builder-level, or give --precision fp32"
            )
    wider = [
        layer.name
        for layer in computing
        if layer.precision != "int8" and any(network.computing.get(node) == "int8" for node in layer.nodes)
    ]
    counts = Counter(layer.precision for layer in layers)
    return LayerReport(dict(sorted(counts.items())), tuple(layer.name for layer in fp32), tuple(wider))


def _details(entry: Any) -> dict[str, Any]:
    """A layer is an object, or one written as text, or only a name where the engine was built with no details."""
    if isinstance(entry, str):
        try:
            entry = json.loads(entry, strict=False)
        except ValueError:
            return {"Name": entry}
    return entry if isinstance(entry, dict) else {"Name": str(entry)}


def _layer(layer: Mapping[str, Any]) -> EngineLayer:
    name = str(layer.get("Name", ""))
    kinds = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}"
    computes = COMPUTES.search(kinds) is not None
    nodes = re.findall(r"\[ONNX Layer: ([^\]]*)\]", str(layer.get("Metadata", "")))
    inputs, outputs = _types(layer.get("Inputs")), _types(layer.get("Outputs"))
    weights = layer.get("Weights")
    if computes and isinstance(weights, dict):
        inputs.append(_kind(str(weights.get("Type", ""))))
    precision = _computed_in(inputs, outputs) if computes else next(iter([*outputs, *inputs]), UNKNOWN)
    return EngineLayer(name, precision, computes, tuple(nodes) or tuple(part.strip() for part in name.split(" + ")))


def _computed_in(inputs: Sequence[str], outputs: Sequence[str]) -> str:
    """The narrowest of what goes in: what is added by an INT8 convolution may be FP32, and so may be what an FP16 one
    casts. What comes out says less: a following QuantizeLinear may be fused into an FP32 convolution.
    """
    for kind in ("int8", "fp8", "int4", "fp16", "bf16"):
        if kind in inputs:
            return kind
    if "fp16" in outputs:
        return "fp16"
    return "fp32" if "fp32" in (*inputs, *outputs) else UNKNOWN


def _types(tensors: Any) -> list[str]:
    found = tensors if isinstance(tensors, list) else []
    texts = [entry.get("Format/Datatype", entry.get("Datatype", "")) for entry in found if isinstance(entry, dict)]
    return [_kind(str(text)) for text in texts]


def _kind(text: str) -> str:
    lower = text.lower()
    return next((kind for kind, pattern in KINDS if re.search(pattern, lower)), UNKNOWN)


def _kept(layer: EngineLayer, network: NetworkTypes) -> bool:
    """Whether the graph too has an FP32 layer in FP32; one whose nodes are not known may be any of those that are."""
    known = [network.computing[node] for node in layer.nodes if node in network.computing]
    return "fp32" in known if known else bool(network.fp32)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
