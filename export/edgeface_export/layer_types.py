"""What a parsed network computes in: types of its layers, before anything is built.

A convolution or matrix product between DequantizeLinear nodes is of type FLOAT or HALF in the network; it is counted
by what it computes in, INT8.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NetworkTypes", "network_types"]

TYPES = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}
"""TensorRT's name of a type -> ours; others keep their own in lower case."""
COMPUTING = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
PASSED_THROUGH = ("CAST", "SHUFFLE", "IDENTITY")
"""What may stand between a DequantizeLinear and what eats it."""


@dataclass(frozen=True)
class NetworkTypes:
    """Types of a parsed network."""

    layers: Mapping[str, int]
    """Type of a layer's output -> layers, constants left out; `quantize` counts QuantizeLinear nodes."""
    computing: Mapping[str, str]
    """Convolution or matrix product -> what it computes in."""

    @property
    def precision(self) -> str:
        """What the graph is, of EXPORTED."""
        half = bool(self.layers.get("fp16"))
        if "quantize" in self.layers:
            return "int8+fp16" if half else "int8"
        return "fp16" if half else "fp32"

    @property
    def fp32(self) -> tuple[str, ...]:
        """Convolutions and matrix products that the graph keeps in FP32."""
        return tuple(name for name, kind in self.computing.items() if kind == "fp32")


def network_types(module: Any, network: Any) -> NetworkTypes:
    """Count a network that `module` has parsed."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    made_by = {layer.get_output(at).name: layer for layer in layers for at in range(layer.num_outputs)}
    counts: Counter[str] = Counter()
    computing: dict[str, str] = {}
    for layer in layers:
        if layer.type == module.LayerType.CONSTANT or not layer.num_outputs:
            continue
        name = layer.get_output(0).dtype.name
        kind = TYPES.get(name, name.lower())
        counts[kind] += 1
        if layer.type == module.LayerType.QUANTIZE:
            counts["quantize"] += 1
        if layer.type.name in COMPUTING:
            computing[layer.name] = "int8" if _dequantized(layer, made_by) else kind
    return NetworkTypes(dict(sorted(counts.items())), computing)


def _dequantized(layer: Any, made_by: Mapping[str, Any]) -> bool:
    """Whether both the activations and the weights were INT8; a layer kept in FP32 may share its activations."""
    if layer.num_inputs < 2:
        return False
    for at in (0, 1):
        source = made_by.get(layer.get_input(at).name)
        while source is not None and source.type.name in PASSED_THROUGH:
            source = made_by.get(source.get_input(0).name)
        if source is None or source.type.name != "DEQUANTIZE":
            return False
    return True
