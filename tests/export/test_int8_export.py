"""INT8 in a bundle: two graphs of one calibration, each judged; the runtime takes its own; what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeface.models import Checkpoint, CheckpointMeta, FaceNet
from edgeface_calibration.drift import GATES, Gate
from edgeface_export import int8_export
from edgeface_export.bundle_writer import write_bundle
from edgeface_export.int8_export import Int8Settings
from edgeface_export.parity import cosines, embed_onnx, embed_torch
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.errors import GateError, InputError
from edgeface_runtime.recognizer import Recognizer

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


@pytest.fixture(scope="module")
def settings(faces: np.ndarray) -> Int8Settings:
    return Int8Settings(faces[:4], "faces of here", "minmax", seed=3)


@pytest.fixture(scope="module")
def bundle(
    masked: FaceNet, faces: np.ndarray, settings: Int8Settings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("int8") / "tiny"
    checkpoint = Checkpoint(masked, CheckpointMeta())
    write_bundle(checkpoint, out, "tiny", faces[4:], ("int8",), int8=settings, measure_memory=False)
    return out


def test_both_graphs_and_how_they_were_made(bundle: Path, masked: FaceNet, faces: np.ndarray) -> None:
    manifest = open_bundle(bundle, full=True).manifest
    assert sorted(manifest.models) == ["fp32", "int8", "int8-cpu"]
    made = manifest.extra["export"]["int8"]
    assert (made["method"], made["faces"], made["drawn_from"], made["seed"]) == ("minmax", 4, "faces of here", 3)
    reference, _ = embed_torch(masked, faces[4:])
    for key in ("int8", "int8-cpu"):
        values = cosines(reference, embed_onnx(bundle / manifest.models[key], faces[4:])[0])
        assert manifest.parity[key]["cosine_mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert values.mean() >= GATES["int8"].cosine_mean
        assert isinstance(made["layers_kept_fp32"][key], list)


def test_a_cpu_runs_its_own_graph(bundle: Path, faces: np.ndarray) -> None:
    opened = open_bundle(bundle)
    assert opened.variant("int8", "onnxruntime") == opened.variant("int8", "onnxruntime", "cpu") == "int8-cpu"
    assert opened.variant("int8", "onnxruntime", "cuda:0") == opened.variant("int8", "tensorrt") == "int8"
    assert opened.variant("fp32", "onnxruntime") == "fp32"
    with Recognizer.from_bundle(bundle, precision="int8", threads=1) as recognizer:
        found = recognizer.embed(faces).vectors
    expected, _ = embed_onnx(bundle / "recognizer.int8.cpu.onnx", faces)
    assert cosines(expected, found).min() > 0.99999


def test_a_missed_gate_writes_nothing(
    masked: FaceNet, faces: np.ndarray, settings: Int8Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_export, "choose_fp32_layers", lambda *args: ())
    monkeypatch.setitem(GATES, "int8", Gate(0.99999, 0.5))
    with pytest.raises(GateError, match=r"int8 differs from FP32: mean cosine \.?\d.*--method"):
        write_bundle(
            Checkpoint(masked, CheckpointMeta()), tmp_path / "out", "tiny", faces[4:], ("int8",), int8=settings
        )
    assert not list(tmp_path.iterdir())


def test_what_is_refused(masked: FaceNet, faces: np.ndarray, tmp_path: Path) -> None:
    checkpoint = Checkpoint(masked, CheckpointMeta())
    with pytest.raises(InputError, match="calibrated on real faces: give --faces"):
        write_bundle(checkpoint, tmp_path / "out", "tiny", faces, ("int8",))
    with pytest.raises(InputError, match="unknown --precision 'int8-cpu': choose from fp32, fp16, int8, int8\\+fp16"):
        write_bundle(checkpoint, tmp_path / "out", "tiny", faces, ("int8-cpu",))
    with pytest.raises(InputError, match="unknown --method 'best'"):
        Int8Settings(faces, "", "best")


def test_long_work_is_told(masked: FaceNet, faces: np.ndarray, settings: Int8Settings, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    checkpoint = Checkpoint(masked, CheckpointMeta())
    write_bundle(
        checkpoint,
        tmp_path / "out",
        "tiny",
        faces[4:],
        ("int8",),
        int8=replace(settings, progress=lambda phase, done, total: told.append((phase, done, total))),
        measure_memory=False,
    )
    assert told[0] == ("int8: faces measured", 4, 4)
