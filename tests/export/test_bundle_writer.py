"""Bundles written and opened again: every figure, and what is never overwritten."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeface.models import Checkpoint, CheckpointMeta, FaceNet, count
from edgeface_export import bundle_writer
from edgeface_export.bundle_writer import write_bundle
from edgeface_export.onnx_export import Exported
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.errors import GateError, InputError
from edgeface_runtime.files import PART_SUFFIX, write_bytes

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

META = CheckpointMeta(
    stage="occluded",
    ratio_requested=0.3,
    ratio_achieved=0.298,
    loss="cosface",
    seed=7,
    data="procedural faces",
    licence="CC0",
    epochs=2,
    faces_seen=640,
    history=("trained", "pruned"),
    accuracy=({"protocol": "synthetic", "accuracy": 0.9},),
)
CREATED = "2026-01-02T03:04:05+00:00"


@pytest.fixture(scope="module")
def checkpoint(masked: FaceNet) -> Checkpoint:
    return Checkpoint(masked, META)


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, faces: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(checkpoint, out, "tiny", faces=faces, precisions=("fp16",), created=CREATED)
    return out


@pytest.fixture
def quick(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter replaced by a copy of what it wrote before: for tests of places, not of graphs."""

    def copied(model: FaceNet, path: Path, opset: int) -> Exported:
        shutil.copy(bundle / "recognizer.onnx", path)
        return Exported(path, path.stat().st_size, opset, 1, ("embedding", "covered_share"), 31, ("decoder.bn",))

    monkeypatch.setattr(bundle_writer, "export_onnx", copied)


def test_everything_a_device_needs(bundle: Path, masked: FaceNet) -> None:
    opened = open_bundle(bundle, full=True)
    manifest = opened.manifest
    assert dict(manifest.models) == {"fp32": "recognizer.onnx", "fp16": "recognizer.fp16.onnx"}
    assert sorted(manifest.files) == ["recognizer.fp16.onnx", "recognizer.onnx"]
    assert (manifest.name, manifest.created, manifest.masking) == ("tiny", CREATED, "decoder")
    assert manifest.outputs == ("embedding", "covered_share") and manifest.embedding_size == 512
    assert (manifest.input.height, manifest.input.width, manifest.input.color) == (112, 96, "RGB")
    assert manifest.template[0] == pytest.approx((30.2946, 51.6963), abs=1e-3)
    assert (manifest.ratio.requested, manifest.ratio.achieved) == (0.3, 0.298)
    counts = count(masked.spec)
    assert (manifest.macs, manifest.parameters) == (counts.macs, counts.parameters)
    assert manifest.arch["stages"][0]["out"] == 8
    assert (
        manifest.peak_memory_bytes is not None
        and manifest.peak_memory_bytes > 1_000_000
        and manifest.thresholds == {}
    )
    assert manifest.training["stage"] == "occluded" and manifest.training["history"] == ["trained", "pruned"]
    assert manifest.weights == {"licence": "CC0", "data": "procedural faces"}
    assert manifest.accuracy[0]["accuracy"] == 0.9
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["tiny"]


def test_parity_is_measured_at_each_precision(bundle: Path) -> None:
    parity = open_bundle(bundle).manifest.parity
    assert parity["fp32"]["cosine_min"] > parity["fp16"]["cosine_min"] > 0.999
    assert parity["fp32"]["faces"] == parity["fp16"]["faces"] == 6
    assert 0.999 < parity["fp16"]["reference_evaluator"]["cosine_min"] < 1
    assert 0.999 < parity["fp16"]["fp16_storage"]["cosine_min"] < 1 and "missed" not in parity["fp16"]
    export = open_bundle(bundle).manifest.extra["export"]
    assert export["batch_norms_kept"] == ["decoder.bn"] and "output/Div" in export["fp16"]["nodes_kept_fp32"]


def test_a_failed_gate_leaves_the_old_bundle(
    quick: None, bundle: Path, checkpoint: Checkpoint, faces: np.ndarray
) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    with pytest.raises(GateError):
        write_bundle(checkpoint, bundle, "new", faces=faces, overwrite=True, gate=1.1)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["tiny"]


def test_a_bundle_is_replaced_only_when_told(
    quick: None, checkpoint: Checkpoint, bundle: Path, faces: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    out.mkdir()  # an empty folder may be filled
    write_bundle(checkpoint, out, "one", faces=faces)
    with pytest.raises(InputError, match="--force"):
        write_bundle(checkpoint, out, "two", faces=faces)
    assert open_bundle(out).manifest.name == "one"
    renamed = replace(checkpoint, meta=CheckpointMeta())
    write_bundle(renamed, out, "two", faces=faces, overwrite=True)
    assert open_bundle(out).manifest.name == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert open_bundle(out).model_id == open_bundle(bundle).model_id


def test_what_is_not_a_bundle_is_never_replaced(checkpoint: Checkpoint, faces: np.ndarray, tmp_path: Path) -> None:
    folder, file, tar = tmp_path / "photos", tmp_path / "notes", tmp_path / "archive.tar"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    (folder / "manifest.json").write_text('{"format": "something else"}')
    file.write_text("notes")
    tar.write_text("not a tar")
    for out in (folder, file, tar):
        with pytest.raises(InputError, match="is not a bundle"):
            write_bundle(checkpoint, out, "x", faces=faces, overwrite=True)
    assert (folder / "a.jpg").exists() and file.read_text() == "notes" and tar.read_text() == "not a tar"
    assert len(list(tmp_path.iterdir())) == 3


def test_one_tar_equal_bytes(
    quick: None, checkpoint: Checkpoint, faces: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out" / "tiny.tar"
    write_bundle(checkpoint, out, "tiny", faces=faces, created=CREATED, measure_memory=False)
    first = out.read_bytes()
    assert open_bundle(out).manifest.masking == "decoder"
    write_bundle(checkpoint, out, "tiny", faces=faces, created=CREATED, overwrite=True, measure_memory=False)
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.iterdir()] == ["tiny.tar"]


def test_bad_requests(checkpoint: Checkpoint, faces: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown --precision 'int4': choose from fp32, fp16, int8"):
        write_bundle(checkpoint, tmp_path / "x", "x", faces=faces, precisions=("int4",))
    with pytest.raises(InputError, match="faces"):
        write_bundle(checkpoint, tmp_path / "x", "x", faces=faces[:0])
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_bundle(checkpoint, blocked / "x", "x", faces=faces)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["b.tar.gz", "b.TGZ", "b.zip"])
def test_a_compressed_name_is_refused(name: str, checkpoint: Checkpoint, faces: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a bundle is a folder or an uncompressed \.tar"):
        write_bundle(checkpoint, tmp_path / name, "x", faces=faces)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "file"), [("b", "b/recognizer.onnx"), ("b.tar", "b.tar")])
def test_a_full_disk_names_the_bundle(
    quick: None,
    name: str,
    file: str,
    checkpoint: Checkpoint,
    faces: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(model: FaceNet, path: Path, opset: int) -> Exported:
        write_bytes(path, bytes(9))
        raise AssertionError("the disk is full")

    if name == "b":
        monkeypatch.setattr(bundle_writer, "export_onnx", full)
        monkeypatch.setattr(os, "fsync", out_of_space)
    else:
        monkeypatch.setattr(tarfile.TarFile, "addfile", out_of_space)
    with pytest.raises(InputError, match=rf"^cannot write {tmp_path / file}: no space left on device$"):
        write_bundle(checkpoint, tmp_path / name, "x", faces=faces)
    assert list(tmp_path.iterdir()) == []


def out_of_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_a_killed_export_left_goes_with_the_next(
    quick: None, checkpoint: Checkpoint, faces: np.ndarray, tmp_path: Path
) -> None:
    left = tmp_path / f".b{PART_SUFFIX}" / "bundle"
    left.mkdir(parents=True)
    (left / "recognizer.onnx").write_bytes(b"half")
    write_bundle(checkpoint, tmp_path / "b", "x", faces=faces)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["manifest.json", "recognizer.onnx"]
