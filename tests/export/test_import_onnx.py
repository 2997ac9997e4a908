"""Recognisers from elsewhere: plain exports in foreign forms give the scores the network itself gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeface.models import FaceNet, build_spec, count
from edgeface_export.graph_cost import graph_cost
from edgeface_export.import_checks import People, Seen, look_at_faces
from edgeface_export.import_onnx import ImportSettings, import_bundle, open_foreign
from edgeface_export.int8_export import Int8Settings
from edgeface_runtime.align import template_for
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import ArtefactError, EdgefaceError, GateError, InputError
from edgeface_runtime.manifest import InputSpec
from edgeface_runtime.recognizer import Recognizer

Tensors = dict[str, np.ndarray[Any, Any]]
POINTS = tuple((float(x), float(y)) for x, y in template_for((112, 112)))


class Nhwc(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.permute(0, 3, 1, 2))


class Unit(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.net(x))


class Viewed(nn.Module):
    """Ends in a Reshape to the batch it was traced with, as hand-written networks do."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).view(int(x.shape[0]), -1)


def quarter() -> FaceNet:
    """A MobileFaceNet of 112x112 with lively statistics, as somebody else might have trained it."""
    from dataclasses import replace

    torch.manual_seed(3)
    model = FaceNet(replace(build_spec("mobilefacenet", 0.5), input_size=(112, 112)))
    for module in model.modules():
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.0, 0.4)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(4, 3, 112, 112) * 2 - 1)
    return model.eval()


@pytest.fixture(autouse=True)
def no_memory_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a process of its own, and is tested by itself."""
    monkeypatch.setattr("edgeface_export.import_onnx.peak_memory", lambda model: None)


@pytest.fixture(scope="module")
def net() -> FaceNet:
    return quarter()


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (6, 7, 7, 3), dtype=np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


def exported(net: nn.Module, path: Path, *, opset: int = 13, nhwc: bool = False, free: bool = False) -> Path:
    sample = torch.rand(1, 112, 112, 3) if nhwc else torch.rand(1, 3, 112, 112)
    axes = {"dynamic_axes": {"data": {0: "n"}, "fc1": {0: "n"}}} if free else {}
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (sample,),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=["data"],
            output_names=["fc1"],
            **axes,
        )
    return path


FORMS: dict[str, tuple[Callable[[nn.Module], nn.Module], dict[str, Any]]] = {
    "free batch": (lambda net: net, {"free": True}),
    "batch of 1": (lambda net: net, {}),
    "NHWC": (Nhwc, {"nhwc": True}),
    "normalised": (Unit, {"free": True, "opset": 17}),
    "fixed view": (Viewed, {}),
    "old opset": (lambda net: net, {"opset": 11}),
}


def wanted(net: nn.Module, crops: np.ndarray, spec: InputSpec) -> np.ndarray:
    with torch.no_grad():
        found = net(torch.from_numpy(to_batch(crops, spec)))
    return nn.functional.normalize(found).numpy()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_networks_own_embeddings(
    form: str, net: FaceNet, crops: np.ndarray, tmp_path: Path
) -> None:
    wrap, options = FORMS[form]
    spec = InputSpec(112, 112, color="BGR", mean=120.0, std=64.0)
    foreign = open_foreign(exported(wrap(net).eval(), tmp_path / "theirs.onnx", **options))
    imported = import_bundle(foreign, tmp_path / "b", ImportSettings("b", spec, POINTS, licence="MIT"), crops, None)
    with Recognizer.from_bundle(tmp_path / "b", threads=1) as recognizer:
        found = recognizer.embed(crops).vectors
    np.testing.assert_allclose(found, wanted(net, crops, spec), atol=2e-5)
    manifest = imported.manifest
    assert manifest.arch["imported"]["normalised_inside"] == (form == "normalised")
    assert manifest.macs == count(net.spec).macs
    assert (manifest.input, manifest.template, manifest.weights["licence"]) == (spec, POINTS, "MIT")
    graph = onnx.load(str(tmp_path / "b" / "recognizer.onnx"))
    assert any(node.op_type == "PRelu" for node in graph.graph.node), "its operators are left as they are"
    dims = graph.graph.input[0].type.tensor_type.shape.dim
    assert (dims[0].dim_param, [dim.dim_value for dim in dims[1:]]) == ("batch", [3, 112, 112])
    assert [value.name for value in graph.graph.output] == ["embedding"]


def test_fp16_and_int8_are_made_of_it_and_engines_take_them(crops: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: pip install 'edgeface[rtx]'")
    from edgeface_export.build import BuildSettings, build_engine

    torch.manual_seed(0)
    small = nn.Sequential(
        nn.Conv2d(3, 16, 3, 4, 1), nn.PReLU(16), nn.Conv2d(16, 32, 3, 4, 1), nn.Flatten(), nn.Linear(32 * 49, 64)
    )
    foreign = open_foreign(exported(small.eval(), tmp_path / "theirs.onnx", free=True))
    more = np.concatenate([crops, crops[:, ::-1], crops[:, :, ::-1]])
    settings = ImportSettings(
        "b",
        InputSpec(112, 112, mean=0.0, std=255.0),
        POINTS,
        precisions=("fp16", "int8"),
        int8=Int8Settings(more, "squares", "minmax"),
    )
    manifest = import_bundle(foreign, tmp_path / "b", settings, crops, None).manifest
    assert set(manifest.models) == {"fp32", "fp16", "int8", "int8-cpu"}
    assert manifest.parity["fp16"]["cosine_min"] > 0.999 and manifest.parity["int8"]["cosine_mean"] > 0.99
    bundle = open_bundle(tmp_path / "b", full=True)
    for precision in ("fp16", "int8"):
        engine = tmp_path / f"{precision}.engine"
        build_engine(bundle.model_path(precision), engine, "tensorrt-rtx", BuildSettings(precision, max_batch=2))
        assert engine.stat().st_size > 10_000


def test_int8_without_faces_is_refused_and_a_bad_network_leaves_nothing(
    net: FaceNet, crops: np.ndarray, tmp_path: Path
) -> None:
    foreign = open_foreign(exported(net, tmp_path / "theirs.onnx", free=True))
    settings = ImportSettings("b", InputSpec(112, 112), POINTS, precisions=("int8",))
    with pytest.raises(InputError, match="--faces"):
        import_bundle(foreign, tmp_path / "b", settings, crops, None)
    blind = linear(tmp_path / "blind.onnx", weights=np.zeros((3, 64), np.float32), bias=np.ones(64, np.float32))
    with pytest.raises(GateError, match="the same embedding for all of 6 faces"):
        import_bundle(
            open_foreign(blind), tmp_path / "b", ImportSettings("b", InputSpec(112, 112), POINTS), crops, None
        )
    endless = linear(tmp_path / "nan.onnx", weights=np.full((3, 64), np.nan, np.float32))
    with pytest.raises(GateError, match="6 of 6 embeddings are not finite"):
        import_bundle(
            open_foreign(endless), tmp_path / "b", ImportSettings("b", InputSpec(112, 112), POINTS), crops, None
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blind.onnx", "nan.onnx", "theirs.onnx"]


def linear(
    path: Path,
    weights: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    shape: tuple[int | str, ...] = ("n", 3, 112, 112),
    kind: int = TensorProto.FLOAT,
    opset: int = 18,
    change: Callable[[onnx.ModelProto], None] = lambda proto: None,
) -> Path:
    """Mean colour -> one linear layer: the smallest thing in a recogniser's form."""
    matrix = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32) if weights is None else weights
    shift = np.zeros(matrix.shape[1], np.float32) if bias is None else bias
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("data", kind, list(shape))],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [shape[0], matrix.shape[1]])],
        [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(shift, "b")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def second_input(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]))


def second_output(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Neg", ["fc1"], ["fc2"]))
    proto.graph.output.append(helper.make_tensor_value_info("fc2", TensorProto.FLOAT, ["n", 64]))


def maps(proto: onnx.ModelProto) -> None:
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["n", 3, 1, 1]))


def boxes(proto: onnx.ModelProto) -> None:
    """A row for every place of the picture, as anchor-based detectors give."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array([-1, 32], np.int64), "places"))
    proto.graph.node.append(helper.make_node("Reshape", ["fc1", "places"], ["boxes"]))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["k", 32]))


def softmax(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Softmax", ["fc1"], ["prob"]))
    proto.graph.output[0].name = "prob"


def half_weights(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float16), "h"))


def external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def foreign_operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].domain = "com.microsoft"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def quantized(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].op_type = "QLinearConv"


def branch(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].op_type = "If"


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[EdgefaceError], str]] = {
    "two inputs": ({"change": second_input}, {}, ArtefactError, r"has 2 inputs \(data, scale\)"),
    "two embeddings": ({"change": second_output}, {}, InputError, r"fc1 2x64, fc2 2x64: choose one with --output"),
    "no such output": ({}, {"output": "fc9"}, InputError, r"has no such output, it has fc1 2x64"),
    "maps": ({"change": maps}, {}, ArtefactError, r"gives no embedding.*pooled 2x3x1x1"),
    "a detector": ({"change": boxes}, {}, ArtefactError, r"boxes 4x32: a detector, perhaps\?"),
    "a few values": ({"weights": np.ones((3, 4), np.float32)}, {}, ArtefactError, "fc1 2x4: a detector"),
    "a classifier": ({"change": softmax}, {}, ArtefactError, "probabilities"),
    "half weights": ({"change": half_weights}, {}, ArtefactError, "holds float16 weights"),
    "half input": ({"kind": TensorProto.FLOAT16}, {}, ArtefactError, "is float16, not float32"),
    "whole numbers": ({"kind": TensorProto.UINT8}, {}, ArtefactError, "is uint8, not float32"),
    "external": ({"change": external}, {}, ArtefactError, "keeps its weights in weights.bin"),
    "another package": ({"change": foreign_operator}, {}, ArtefactError, "com.microsoft.GlobalAveragePool"),
    "quantised": ({"change": quantized}, {}, ArtefactError, "quantised already"),
    "branches": ({"change": branch}, {}, ArtefactError, r"a branch or loop \(If\)"),
    "grey": ({"shape": ("n", 1, 112, 112)}, {}, ArtefactError, "no colour picture"),
    "no picture": ({"shape": ("n", 512)}, {}, ArtefactError, "no batch of pictures"),
    "another size": ({}, {"size": (112, 96)}, InputError, r"--input 112x96: .* takes 112x112"),
    "another layout": ({}, {"layout": "NHWC"}, InputError, "which is NCHW: leave --layout out"),
    "no size": ({"shape": ("n", 3, "h", "w")}, {}, InputError, "does not say its size: give --input"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_fp32_recogniser_is_said_in_one_line(case: str, tmp_path: Path) -> None:
    made, given, error, words = REFUSED[case]
    path = linear(tmp_path / "m.onnx", **made)
    with pytest.raises(error, match=words) as caught:
        open_foreign(path, **given)
    assert "\n" not in str(caught.value)


def test_no_onnx_at_all_and_opsets_that_cannot_be_converted(tmp_path: Path) -> None:
    for name, data in (("text.onnx", b"hello, this is no model\n" * 9), ("empty.onnx", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ArtefactError, match="is not an ONNX file"):
            open_foreign(tmp_path / name)
    whole = linear(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtefactError):
        open_foreign(tmp_path / "cut.onnx")
    with pytest.raises(ArtefactError, match=r"is of opset 1, and onnx cannot convert it to 18"):
        open_foreign(linear(tmp_path / "one.onnx", opset=1))
    with pytest.raises(InputError, match="ONNX file not found"):
        open_foreign(tmp_path / "none.onnx")


def test_damaged_files_are_refused_or_read_never_a_crash(crops: np.ndarray, tmp_path: Path) -> None:
    whole = linear(tmp_path / "m.onnx").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "x.onnx"
    refused = 0
    for number in range(200):
        data = bytearray(whole)
        if number % 4 == 0:
            data = data[: rng.integers(len(data))]
        else:  # most bytes are weights: what holds the structure is in front and behind
            for at in rng.integers(-150, 150, 2):
                data[at] ^= rng.integers(1, 256)
        path.write_bytes(data)
        try:
            open_foreign(path)
        except EdgefaceError as exc:
            assert "\n" not in str(exc)
            refused += 1
    assert refused > 150


def test_the_size_may_be_given_where_the_graph_leaves_it_open(tmp_path: Path) -> None:
    found = open_foreign(linear(tmp_path / "m.onnx", shape=("n", 3, "h", "w")), size=(128, 128))
    assert (found.input.size, found.input.layout, found.output, found.embedding_size) == (
        (128, 128),
        "NCHW",
        "fc1",
        64,
    )


def test_a_batch_that_cannot_be_freed_is_said(crops: np.ndarray, tmp_path: Path) -> None:
    """A constant of one row is put beside the embedding: there is no saying what two rows would be."""

    def beside(proto: onnx.ModelProto) -> None:
        proto.graph.node[2].output[0] = "raw"
        proto.graph.initializer.append(numpy_helper.from_array(np.ones((1, 4), np.float32), "row"))
        proto.graph.node.append(helper.make_node("Concat", ["raw", "row"], ["fc1"], axis=1))
        proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 68

    foreign = open_foreign(linear(tmp_path / "m.onnx", shape=(1, 3, 112, 112), change=beside))
    with pytest.raises(
        ArtefactError, match=r"with its batch of 1 made free \(.*Concat.*export it with a dynamic batch"
    ):
        import_bundle(foreign, tmp_path / "b", ImportSettings("x", InputSpec(112, 112), POINTS), crops, None)


def test_copies_of_a_weight_are_that_weight(crops: np.ndarray, tmp_path: Path) -> None:
    """PyTorch's exporter writes equal weights once; a copy left in the graph would stay FP32 in its FP16 form."""

    def copied(proto: onnx.ModelProto) -> None:
        value = helper.make_attribute("value", numpy_helper.from_array(np.ones(64, np.float32)))
        constant = helper.make_node("Constant", [], ["one"])
        constant.attribute.append(value)
        proto.graph.node.insert(0, constant)
        proto.graph.node.insert(1, helper.make_node("Identity", ["one"], ["again"]))
        proto.graph.node[-1].input[2] = "again"

    path = linear(tmp_path / "m.onnx", change=copied)
    settings = ImportSettings("x", InputSpec(112, 112), POINTS, precisions=("fp16",))
    import_bundle(open_foreign(path), tmp_path / "b", settings, crops, None)
    half = onnx.load(str(tmp_path / "b" / "recognizer.fp16.onnx")).graph
    assert {tensor.name: tensor.data_type for tensor in half.initializer}["one:half"] == TensorProto.FLOAT16
    assert not any(node.op_type in ("Identity", "Constant") for node in half.node)


def test_names_of_the_house_that_mean_something_else_are_moved(crops: np.ndarray, tmp_path: Path) -> None:
    """A tensor within that is called `input` or `embedding` must not become the picture or the result."""

    def rename(proto: onnx.ModelProto) -> None:
        proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = "input"
        proto.graph.node[1].output[0] = proto.graph.node[2].input[0] = "embedding"

    plain, odd = linear(tmp_path / "a.onnx"), linear(tmp_path / "b.onnx", change=rename)
    found = []
    for path in (plain, odd):
        out = path.with_suffix(".bundle")
        import_bundle(open_foreign(path), out, ImportSettings("x", InputSpec(112, 112), POINTS), crops, None)
        with Recognizer.from_bundle(out, threads=1) as recognizer:
            found.append(recognizer.embed(crops).vectors)
    np.testing.assert_array_equal(found[0], found[1])


def test_cost_by_hand(tmp_path: Path) -> None:
    """5x5 picture; 3x3 convolution of 2 filters over 2 groups of 2 channels, stride 2; BN, PReLU; then 8 -> 3."""
    rng = np.random.default_rng(0)
    tensors: Tensors = {
        "w": rng.standard_normal((2, 2, 3, 3)).astype(np.float32),
        "wb": np.zeros(2, np.float32),
        **{name: np.ones(2, np.float32) for name in ("scale", "shift", "mean", "var")},
        "slope": np.ones((2, 1, 1), np.float32),
        "two": np.array(2, np.float32),
        "m": rng.standard_normal((8, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "wb"], ["a"], group=2, strides=[2, 2], name="c"),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"], name="n"),
        helper.make_node("PRelu", ["b", "slope"], ["p"], name="p"),
        helper.make_node("Mul", ["p", "two"], ["d"], name="d"),
        helper.make_node("Flatten", ["d"], ["f"], name="f"),
        helper.make_node("MatMul", ["f", "m"], ["y"], name="y"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    cost = graph_cost(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    # Output 2x2 of 2 filters, each of 2 x 3 x 3 weights; then 8 x 3. Parameters: 36 + 2, 2 + 2, 2, 24.
    assert (cost.macs, cost.parameters) == (2 * 2 * 2 * 18 + 24, 68)


def people(rng: np.random.Generator, colours: np.ndarray, spread: int = 3) -> People:
    """Two pictures of everybody, of nearly their colour."""
    labels = np.repeat(np.arange(len(colours)), 2)
    shades = colours[labels] + rng.integers(-spread, spread + 1, (len(labels), 3))
    crops = np.broadcast_to(shades[:, None, None], (len(labels), 112, 112, 3)).clip(0, 255).astype(np.uint8)
    return People(np.ascontiguousarray(crops), labels)


def test_a_wrong_range_shows(tmp_path: Path) -> None:
    """The network listens to the middle of [-1, 1] only: fed 0..1 it hears next to nothing of who it is."""
    rng = np.random.default_rng(2)
    seen = people(rng, 127 + rng.integers(-40, 41, (20, 3)), spread=4)

    def steep(proto: onnx.ModelProto) -> None:
        proto.graph.node[2].output[0] = "raw"
        proto.graph.node.append(helper.make_node("Tanh", ["raw"], ["fc1"]))

    weights = (rng.standard_normal((3, 64)) * 8).astype(np.float32)
    foreign = open_foreign(linear(tmp_path / "m.onnx", weights=weights, change=steep))

    def looked(mean: float, std: float) -> Seen:
        spec = InputSpec(112, 112, mean=mean, std=std)
        out = tmp_path / f"{mean}-{std}"
        return import_bundle(foreign, out, ImportSettings("x", spec, POINTS), seen.crops[::2], seen).seen

    right, wrong = looked(127.5, 127.5), looked(0.0, 255.0)
    assert right.warnings == () and right.auc is not None and wrong.auc is not None and wrong.auc < right.auc
    (told,) = wrong.warnings
    assert told.startswith("people are told apart better with --range -1..1") and "not " in told
    assert dict(wrong.alternatives)["--range -1..1 --color RGB"] == pytest.approx(right.auc)


def test_faces_alike_are_said_without_identities(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    seen = people(rng, rng.integers(0, 256, (12, 3)))
    path = linear(tmp_path / "m.onnx", bias=np.full(64, 9, np.float32))
    imported = import_bundle(
        open_foreign(path), tmp_path / "b", ImportSettings("x", InputSpec(112, 112), POINTS), seen.crops, None
    )
    (told,) = imported.seen.warnings
    assert told.startswith("all faces look alike (mean cosine 0.9") and told.endswith("check --range and --color")


def test_what_would_overflow_fp16_stays_fp32(crops: np.ndarray, tmp_path: Path) -> None:
    weights = np.full((3, 64), 3e4, np.float32) * np.arange(64, dtype=np.float32)
    foreign, spec = open_foreign(linear(tmp_path / "m.onnx", weights=weights)), InputSpec(112, 112)
    settings = ImportSettings("x", spec, POINTS, precisions=("fp16",))
    imported = import_bundle(foreign, tmp_path / "b", settings, crops, None)
    sums = to_batch(crops, spec).mean((2, 3)).sum(1)
    large = imported.manifest.extra["export"]["fp16"]["near_overflow"]
    assert max(large.values()) == pytest.approx(3e4 * 63 * np.abs(sums).max(), rel=1e-4)
    assert imported.manifest.parity["fp16"]["cosine_mean"] > 0.9999


def test_looking_needs_no_identities_but_uses_them(crops: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "b"
    path = linear(tmp_path / "m.onnx")
    import_bundle(open_foreign(path), out, ImportSettings("x", InputSpec(112, 112), POINTS), crops, None)
    pairs = People(np.concatenate([crops, crops]), np.tile(np.arange(6), 2))
    seen = look_at_faces(out / "recognizer.onnx", InputSpec(112, 112), crops, pairs)
    assert seen.auc == pytest.approx(1.0) and len(seen.alternatives) == 5
