"""The exported file: its inputs and outputs, what is in it and what must not be."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeface.models import ArchSpec, FaceNet, StageSpec, iresnet18
from edgeface_export.onnx_export import export_onnx
from edgeface_export.parity import compare, embed_onnx
from edgeface_runtime.errors import InputError

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def test_inputs_and_outputs(masked_onnx: Path) -> None:
    graph = onnx.load(str(masked_onnx)).graph

    def shape(value: onnx.ValueInfoProto) -> list[str | int]:
        return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]

    assert [(value.name, shape(value)) for value in graph.input] == [("input", ["batch", 3, 112, 96])]
    assert [(value.name, shape(value)) for value in graph.output] == [
        ("embedding", ["batch", 512]),
        ("covered_share", ["batch"]),
    ]


def test_dynamic_batch_and_unit_length(masked_onnx: Path, faces: np.ndarray) -> None:
    together, shares = embed_onnx(masked_onnx, faces)
    alone, share = embed_onnx(masked_onnx, faces[:1])
    assert together.shape == (6, 512) and together.dtype == np.float32
    assert shares is not None and share is not None and shares.shape == (6,)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)
    np.testing.assert_allclose(shares[:1], share, atol=1e-6)


def test_covered_share_is_the_mean_of_one_minus_mask(masked: FaceNet, masked_onnx: Path, faces: np.ndarray) -> None:
    rgb = faces[:2, ..., ::-1].astype(np.float32) / 127.5 - 1
    with torch.no_grad():
        mask = masked.forward_masked(torch.from_numpy(rgb.transpose(0, 3, 1, 2).copy())).mask
    assert mask is not None
    expected = [(1 - face.double()).mean().item() for face in mask]
    np.testing.assert_allclose(embed_onnx(masked_onnx, faces[:2])[1], expected, atol=1e-5)


def test_only_the_unfoldable_bn_is_left_and_nodes_carry_module_names(masked_onnx: Path) -> None:
    nodes = onnx.load(str(masked_onnx)).graph.node
    assert [node.name for node in nodes if node.op_type == "BatchNormalization"] == ["decoder.bn/BatchNormalization"]
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    assert {"stem.0/Conv", "stages.3.1.conv2/Conv", "decoder/Sigmoid"} <= set(names)


def test_nothing_of_this_machine_is_in_the_file(masked_onnx: Path) -> None:
    content = masked_onnx.read_bytes()
    root = str(Path(torch.__file__).parents[1]).encode()
    for trace in (root, str(Path.cwd()).encode(), b"site-packages", b".py", b"torch", b"stack_trace"):
        assert trace not in content
    model = onnx.load(str(masked_onnx))
    assert model.producer_name == "edgeface" and model.producer_version and not model.doc_string
    assert {entry.key for entry in model.metadata_props} == {"edgeface.arch", "edgeface.input"}
    assert model.ir_version == 8 and [entry.version for entry in model.opset_import] == [18]
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert [entry.name for entry in masked_onnx.parent.glob("*.onnx.data")] == []


def test_same_weights_same_bytes(
    masked: FaceNet, masked_onnx: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported = export_onnx(masked, tmp_path / "again.onnx")
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "again.onnx").read_bytes() == masked_onnx.read_bytes()
    assert exported.size_bytes == masked_onnx.stat().st_size
    assert exported.bn_kept == ("decoder.bn",) and exported.outputs == ("embedding", "covered_share")


ODD = ArchSpec("odd", 5, (StageSpec(7, (3, 9)), StageSpec(11, (5,)), StageSpec(13, (7,)), StageSpec(17, (9,))))


@pytest.mark.parametrize(
    ("spec", "opset"),
    [
        (replace(iresnet18(0.125), head="pool", stem_stride=2, embedding=64), 19),
        (replace(ODD, stem_stride=2), 20),
        (ODD, 18),
    ],
    ids=["pool, opset 19", "odd, stride 2, opset 20", "odd"],
)
def test_other_networks(
    spec: ArchSpec, opset: int, make_net: Callable[..., FaceNet], tmp_path: Path, faces: np.ndarray
) -> None:
    model = make_net(spec, seed=1)
    path = tmp_path / "other.onnx"
    exported = export_onnx(model, path, opset)
    assert exported.outputs == ("embedding",) and exported.bn_kept == ()
    assert onnx.load(str(path)).opset_import[0].version == opset
    parity = compare(model, path, faces[:3])
    assert parity.cosine_min > 0.99999 and parity.covered_share_max_difference is None


@pytest.mark.parametrize("opset", [17, 21])
def test_other_opsets_are_refused(opset: int, masked: FaceNet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"--opset must be 18 to 20, got {opset}"):
        export_onnx(masked, tmp_path / "x.onnx", opset)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("swallowed", [True, False])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_no_fault_of_the_exporter(
    kind: signal.Signals, swallowed: bool, masked: FaceNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import of its own that was interrupted makes the exporter fail, or try another way."""
    before = signal.signal(kind, signal.default_int_handler)

    def export(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(kind)
        except KeyboardInterrupt:
            if not swallowed:
                raise RuntimeError("please create an issue") from None

    monkeypatch.setattr(torch.onnx, "export", export)
    try:
        with pytest.raises(KeyboardInterrupt):
            export_onnx(masked, tmp_path / "x.onnx")
        assert signal.getsignal(kind) is signal.default_int_handler
    finally:
        signal.signal(kind, before)
    assert list(tmp_path.iterdir()) == []


def test_other_faults_and_threads_are_left_alone(
    masked: FaceNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(RuntimeError, match="a fault"):
        export_onnx(masked, tmp_path / "x.onnx")
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="a fault"):
        pool.submit(export_onnx, masked, tmp_path / "x.onnx").result()
