"""Precisions of a bundle: INT8 with FP16, gates, what is written in spite of one, more for a bundle that is there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgeface.models import Checkpoint, CheckpointMeta, FaceNet
from edgeface_calibration import drift
from edgeface_calibration.drift import Gate, draw_pairs
from edgeface_export.add_precisions import add_precisions
from edgeface_export.bundle_writer import write_bundle
from edgeface_export.int8_export import Int8Settings
from edgeface_export.judge import Judge, Judging
from edgeface_export.parity import cosines, embed_onnx
from edgeface_export.precision import to_fp16
from edgeface_runtime.bundle import open_bundle, pack_bundle
from edgeface_runtime.errors import GateError, InputError
from edgeface_runtime.manifest import read_manifest, write_manifest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


@pytest.fixture(scope="module")
def settings(faces: np.ndarray) -> Int8Settings:
    return Int8Settings(faces[:4], "faces of here", "minmax")


@pytest.fixture(scope="module")
def exported(masked: FaceNet, faces: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judge") / "b"
    write_bundle(Checkpoint(masked, CheckpointMeta()), out, "b", faces, measure_memory=False)
    return out


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "b"))


def test_the_record_is_what_the_graphs_give(masked_onnx: Path, masked_half: Path, faces: np.ndarray) -> None:
    pairs = draw_pairs([0, 0, 1, 1, 2, 2], "six")
    told: list[str] = []
    judging = Judging(faces, pairs, threshold=0.5, progress=lambda phase, done, total: told.append(phase))
    record = Judge(masked_onnx, judging).judge("fp16", masked_half)
    reference, stored = (embed_onnx(path, faces)[0] for path in (masked_onnx, masked_half))
    assert record["fp16_storage"]["cosine_mean"] == pytest.approx(cosines(reference, stored).mean(), abs=1e-7)
    assert record["cosine_mean"] != record["fp16_storage"]["cosine_mean"]  # judged in FP16 arithmetic
    assert record["gate"] == {"cosine_mean": 0.9999, "accuracy_points": 0.1} and record["faces"] == 6
    assert record["threshold"] == 0.5 and 0 <= record["tar"] <= 1 and record["genuine"]["pairs"] == 3
    assert set(told) == {"fp32: faces compared", "fp16 arithmetic: faces compared", "fp16 storage: faces compared"}
    json.dumps(record)


def test_a_missed_gate_is_refused_or_recorded(
    masked_onnx: Path, faces: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "half.onnx"
    to_fp16(masked_onnx, half)
    monkeypatch.setitem(drift.GATES, "fp16", Gate(1.5, 0.1))
    strict, lenient = (Judge(masked_onnx, Judging(faces, accept=accept)) for accept in (False, True))
    record = strict.judge("fp16", half)
    assert len(record["missed"]) == 1 and "below 1.5" in record["missed"][0]
    parity = {"fp16": record, "int8": {}, "int8-cpu": {}}
    words = (
        r"fp16 differs from FP32: mean cosine .* below 1.5 \(int8, int8-cpu would pass\): leave fp16 out, .* --force"
    )
    with pytest.raises(GateError, match=words):
        strict.conclude(parity)
    lenient.conclude(parity)
    strict.conclude({"int8": {}})


def test_int8_with_fp16_in_between(bundle: Path, settings: Int8Settings, faces: np.ndarray) -> None:
    before = open_bundle(bundle)
    manifest = add_precisions(bundle, ["int8", "int8+fp16"], Judging(faces[4:]), settings)
    opened = open_bundle(bundle, full=True)
    assert opened.manifest == manifest and opened.model_id == before.model_id
    assert sorted(manifest.models) == ["fp32", "int8", "int8+fp16", "int8-cpu"]
    assert {path.name for path in bundle.parent.iterdir()} == {"b"}
    graph = onnx.load(str(bundle / manifest.models["int8+fp16"])).graph
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert quantizers and all(weights[node.input[1]] == TensorProto.FLOAT16 for node in quantizers)
    large = [tensor for tensor in graph.initializer if len(tensor.dims) == 4]
    assert large and all(tensor.data_type == TensorProto.INT8 for tensor in large)
    both = embed_onnx(bundle / manifest.models["int8+fp16"], faces)[0]
    alone = embed_onnx(bundle / manifest.models["int8"], faces)[0]
    assert cosines(both, alone).min() > 0.995  # a rounded scale moves values over the edge of a step
    assert manifest.parity["int8+fp16"]["cosine_mean"] > 0.99


def test_only_what_is_asked_for_is_made(bundle: Path, settings: Int8Settings, faces: np.ndarray) -> None:
    manifest = add_precisions(bundle, ["int8+fp16"], Judging(faces[4:]), settings)
    assert sorted(manifest.models) == ["fp32", "int8+fp16"]
    assert list(manifest.extra["export"]["int8"]["layers_kept_fp32"]) == ["int8+fp16"]
    again = add_precisions(bundle, ["fp16"], Judging(faces))
    assert sorted(again.models) == ["fp16", "fp32", "int8+fp16"]
    assert again.files["recognizer.int8.fp16.onnx"] == manifest.files["recognizer.int8.fp16.onnx"]


def test_the_bundles_own_threshold_is_what_rates_are_taken_at(
    bundle: Path, settings: Int8Settings, faces: np.ndarray
) -> None:
    write_manifest(bundle, replace(read_manifest(bundle), thresholds={"1e-1": 0.1, "1e-3": 0.7}))
    manifest = add_precisions(bundle, ["int8"], Judging(faces, draw_pairs([0, 0, 1, 1, 2, 2], "six")), settings)
    assert manifest.parity["int8"]["threshold"] == 0.7 and manifest.thresholds == {"1e-1": 0.1, "1e-3": 0.7}


def test_a_missed_gate_leaves_the_bundle(
    bundle: Path, settings: Int8Settings, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    monkeypatch.setitem(drift.GATES, "fp16", Gate(1.5, 0.1))
    with pytest.raises(GateError):
        add_precisions(bundle, ["fp16"], Judging(faces))
    with pytest.raises(InputError, match="calibrated on real faces"):
        add_precisions(bundle, ["int8"], Judging(faces))
    with pytest.raises(InputError, match="unknown --precision"):
        add_precisions(bundle, ["int4"], Judging(faces))
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["b"]


def test_a_tar_takes_them_too(exported: Path, faces: np.ndarray, settings: Int8Settings, tmp_path: Path) -> None:
    tar = tmp_path / "b.tar"
    pack_bundle(exported, tar)
    add_precisions(tar, ["int8"], Judging(faces[4:]), settings)
    assert "int8-cpu" in open_bundle(tar, full=True).manifest.models
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


def test_tensorrt_takes_int8_with_fp16(bundle: Path, settings: Int8Settings, faces: np.ndarray) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt_rtx")
    manifest = add_precisions(bundle, ["int8+fp16"], Judging(faces[4:]), settings)
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse((bundle / manifest.models["int8+fp16"]).read_bytes()), parser.get_error(0).desc()
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    types = {layer.get_output(0).dtype.name for layer in layers if layer.type == trt.LayerType.CONVOLUTION}
    assert types == {"HALF"}
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("input", *[(batch, 3, 112, 96) for batch in (1, 1, 4)])
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
