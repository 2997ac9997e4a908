"""What an engine computes in, from answers of the inspector written by hand in the shapes TensorRT gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeface_export.layer_inspect import judge_layers, read_layers
from edgeface_export.layer_types import NetworkTypes
from edgeface_runtime.errors import EngineError

HALF = NetworkTypes({"fp16": 3, "fp32": 1}, {"stem/Conv": "fp16", "a/Conv": "fp16", "head/Gemm": "fp16"})
KEPT = NetworkTypes({"fp16": 2, "fp32": 2}, {"stem/Conv": "fp32", "a/Conv": "fp16", "head/Gemm": "fp16"})
EIGHT = NetworkTypes({"fp32": 9, "quantize": 2}, {"stem/Conv": "fp32", "a/Conv": "int8", "head/Gemm": "int8"})


def kernel(name: str, weights: str | None, ins: str, outs: str, kind: str = "CaskConvolution") -> dict[str, Any]:
    """A kernel of TensorRT's own."""
    made: dict[str, Any] = {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [1, 8, 9, 9], "Format/Datatype": ins}],
        "Outputs": [{"Name": "y", "Location": "Device", "Dimensions": [1, 8, 9, 9], "Format/Datatype": outs}],
    }
    return made | ({"Weights": {"Type": weights, "Count": 576}} if weights else {})


def compiled(name: str, kind: str, ins: list[str], outs: list[str], nodes: list[str]) -> dict[str, Any]:
    """A kernel of TensorRT's compiler: bare types, ONNX nodes in the metadata."""
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": "x", "Format/Datatype": text} for text in ins],
        "Outputs": [{"Name": "y", "Format/Datatype": text} for text in outs],
        "Metadata": "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes),
    }


def told(*layers: Any) -> str:
    """As the inspector writes it: control characters stand bare in the text."""
    return json.dumps({"Layers": list(layers), "Bindings": ["input", "embedding"]}).replace("\\u001f", "\x1f")


FREE = "N/A due to dynamic shapes"
LINEAR, WIDE8 = "Row major linear FP32", "Channel major FP16 format where channel % 8 == 0"
WIDE32 = "Thirty-two wide channel vectorized row major Int8 format"


@pytest.mark.parametrize(
    ("layer", "precision", "computes"),
    [
        (kernel("a", "Half", WIDE8, WIDE8), "fp16", True),
        (kernel("a", "Half", FREE, FREE), "fp16", True),
        (kernel("a", "Int8", WIDE32, LINEAR), "int8", True),
        (kernel("a", "Float", LINEAR, LINEAR), "fp32", True),
        (kernel("a", "Float", "Float", "Int8"), "fp32", True),  # the next layer's QuantizeLinear is fused
        (kernel("a", "BFloat16", "BFloat16", "BFloat16"), "bf16", True),
        (kernel("a", None, FREE, FREE), "unknown", True),
        (kernel("a", None, LINEAR, WIDE8, "Reformat"), "fp16", False),
        (kernel("a", None, FREE, FREE, "Pooling"), "unknown", False),
        (kernel("a", None, "Row major linear UInt8 format", "Bool", "Cast"), "bool", False),
        (compiled("a", "gemm", ["Half", "Half"], ["Half"], []), "fp16", True),
        (compiled("a", "conv", ["Int8", "Int8", "Float"], ["Float"], []), "int8", True),
        (compiled("a", "gemm", ["Float"], ["Half"], []), "fp16", True),
        (compiled("a", "kgen", ["Float", "Float"], ["Float"], []), "fp32", False),
        (compiled("a", "Convert", ["Float"], ["Half"], []), "fp16", False),
    ],
)
def test_one_layer(layer: dict[str, Any], precision: str, computes: bool) -> None:
    (found,) = read_layers(told(layer))
    assert (found.precision, found.computes, found.name) == (precision, computes, "a")


def test_layers_that_are_text_and_constants() -> None:
    layers = read_layers(
        told("only a name", json.dumps(kernel("a + b", "Half", "Half", "Half")), {"LayerType": "Constant"})
    )
    assert [(layer.name, layer.precision) for layer in layers] == [("only a name", "unknown"), ("a + b", "fp16")]
    assert layers[1].nodes == ("a", "b")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": {}}', "Layers: 3"])
def test_no_answer_is_no_list_of_layers(text: str) -> None:
    with pytest.raises(ValueError):
        read_layers(text)


def test_a_half_engine() -> None:
    layers = read_layers(
        told(
            kernel("Reformatting CopyNode", None, LINEAR, WIDE8, "Reformat"),
            kernel("stem/Conv + stem/Max", "Half", WIDE8, WIDE8),
            compiled("__myl_1", "conv", ["Half"], ["Half"], ["a/Conv", "a/Max"]),
            compiled("__myl_2", "gemm", ["Half"], ["Float"], ["head/Gemm"]),
            compiled("__myl_3", "kgen", ["Float"], ["Float"], ["output/ReduceL2"]),
        )
    )
    report = judge_layers(layers, HALF, "fp16")
    assert report is not None
    assert (dict(report.layers), report.fp32, report.wider) == ({"fp16": 4, "fp32": 1}, (), ())


def test_a_silent_fp32_engine_fails() -> None:
    layers = read_layers(
        told(
            *(kernel(name, "Float", LINEAR, LINEAR) for name in HALF.computing),
            kernel("p", None, FREE, FREE, "Pooling"),
        )
    )
    with pytest.raises(EngineError) as caught:
        judge_layers(layers, HALF, "fp16")
    message = str(caught.value)
    assert message.startswith(
        "fp16 was asked for, and 3 of 3 convolutions of the engine are in FP32 against the graph"
    )
    assert "(stem/Conv, a/Conv, head/Gemm)" in message and "\n" not in message
    assert judge_layers(layers, HALF, "fp32") is not None


def test_layers_the_graph_keeps_in_fp32_are_listed_and_pass() -> None:
    engine = (
        compiled("__myl_0", "conv", ["Float"], ["Float"], ["stem/Conv"]),
        compiled("__myl_1", "conv", ["Half"], ["Half"], ["a/Conv"]),
    )
    report = judge_layers(read_layers(told(*engine)), KEPT, "fp16")
    assert report is not None and report.fp32 == ("__myl_0",)
    stray = compiled("__myl_2", "gemm", ["Float"], ["Float"], ["head/Gemm"])
    with pytest.raises(EngineError, match=r"1 of 3 convolutions .*\(__myl_2\)"):
        judge_layers(read_layers(told(*engine, stray)), KEPT, "fp16")


def test_a_fused_layer_without_names_may_be_one_that_was_kept() -> None:
    nameless = compiled("fused_17", "conv", ["Float"], ["Float"], [])
    assert judge_layers(read_layers(told(nameless)), KEPT, "fp16") is not None
    with pytest.raises(EngineError, match="fused_17"):
        judge_layers(read_layers(told(nameless)), HALF, "fp16")


def test_int8_that_is_none_fails() -> None:
    layers = read_layers(told(*(kernel(name, "Float", LINEAR, LINEAR) for name in EIGHT.computing)))
    for precision in ("int8", "int8+fp16"):
        with pytest.raises(
            EngineError, match=r"no convolution of the engine computes in INT8 \(3 fp32\): .*fp16$"
        ) as caught:
            judge_layers(layers, EIGHT, precision)
        assert caught.value.exit_code == 3


def test_int8_layers_that_fell_back_are_told() -> None:
    layers = read_layers(
        told(
            kernel("stem/Conv", "Float", LINEAR, "Int8"),
            kernel("a/Conv + a/Max", "Int8", WIDE32, WIDE32),
            compiled("__myl_9", "gemm", ["Float", "Float"], ["Float"], ["head/Gemm"]),
        )
    )
    report = judge_layers(layers, EIGHT, "int8")
    assert report is not None
    assert (report.fp32, report.wider) == (("stem/Conv", "__myl_9"), ("__myl_9",))
    assert report.layers == {"fp32": 2, "int8": 1}


@pytest.mark.parametrize(
    "layers",
    [
        ("stem/Conv", "a/Conv"),
        (kernel("a/Conv", None, FREE, FREE),),
        (compiled("{ForeignNode[stem...head]}", "Myelin", ["Float"], ["Float"], []),),
        (),
    ],
)
def test_where_no_type_is_told_nothing_is_judged(layers: tuple[Any, ...]) -> None:
    assert judge_layers(read_layers(told(*layers)), HALF, "fp16") is None
