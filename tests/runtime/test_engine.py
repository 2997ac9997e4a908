"""Sidecars: an engine that is damaged, stale or of another machine is refused before it is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeface_runtime.engine import (
    Profile,
    Sidecar,
    check_sidecar,
    engine_path,
    is_engine,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from edgeface_runtime.errors import ArtefactError, EngineError, InputError

PLAN = b"a plan"
SIDECAR = Sidecar(
    flavour="tensorrt",
    tensorrt_version="10.3.0",
    onnx_sha256="c" * 64,
    engine_sha256=hashlib.sha256(PLAN).hexdigest(),
    precision="fp16",
    profile=Profile(1, 8, 32),
    gpu="Orin",
    compute_capability="8.7",
    driver="12.6",
)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "r.engine"
    path.write_bytes(PLAN)
    write_sidecar(path, SIDECAR)
    return path


def check(engine: Path, sidecar: Sidecar = SIDECAR, onnx_sha256: str | None = "c" * 64) -> None:
    check_sidecar(engine, sidecar, "tensorrt", "10.3.0", "Orin", "8.7", onnx_sha256)


def test_what_is_written_is_read(engine: Path) -> None:
    assert sidecar_path(engine).name == "r.engine.json"
    assert read_sidecar(engine) == SIDECAR
    data = json.loads(sidecar_path(engine).read_text())
    assert (data["format"], data["version"], data["profile"]["max_batch"]) == ("edgeface-engine", 1, 32)
    check(engine)
    check(engine, onnx_sha256=None)


@pytest.mark.parametrize(
    ("changes", "error", "pattern"),
    [
        ({"tensorrt_version": "10.2.0"}, EngineError, r"built by tensorrt 10.2.0, here is tensorrt 10.3.0"),
        ({"flavour": "tensorrt-rtx"}, EngineError, "built by tensorrt-rtx"),
        ({"gpu": "Xavier"}, EngineError, r"built for Xavier .*here is Orin \(8.7\)"),
        ({"compute_capability": "7.2"}, EngineError, "compute capability 7.2"),
        ({"gpu": None}, EngineError, "built for None"),
        ({"onnx_sha256": "d" * 64}, ArtefactError, f"built from model {'d' * 12}, not {'c' * 12}"),
        ({"engine_sha256": "e" * 64}, ArtefactError, "is damaged"),
    ],
)
def test_a_foreign_engine_is_refused(
    engine: Path, changes: dict[str, str], error: type[Exception], pattern: str
) -> None:
    with pytest.raises(error, match=pattern) as info:
        check(engine, replace(SIDECAR, **changes))
    assert "edgeface build" in str(info.value)
    assert "\n" not in str(info.value)


def test_an_rtx_engine_built_without_a_gpu_runs_on_any(engine: Path) -> None:
    sidecar = replace(SIDECAR, flavour="tensorrt-rtx", tensorrt_version="1.7", gpu=None, compute_capability=None)
    check_sidecar(engine, sidecar, "tensorrt-rtx", "1.7", "RTX", "12.0")


def test_empty_flipped_and_missing_engines(engine: Path) -> None:
    engine.write_bytes(b"b plan")
    with pytest.raises(ArtefactError, match="is damaged"):
        check(engine)
    engine.write_bytes(b"")
    with pytest.raises(ArtefactError, match="is damaged"):
        check(engine)
    engine.unlink()
    with pytest.raises(InputError, match="engine not found"):
        check(engine)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("{", "it is not JSON"),
        ("[]", "is not an engine's sidecar"),
        ('{"format": "edgeface-bundle", "version": 1}', "is not an engine's sidecar"),
        ('{"format": "edgeface-engine", "version": 2}', "version 2, .*upgrade edgeface"),
        ('{"format": "edgeface-engine", "version": 1}', "is damaged"),
    ],
)
def test_bad_sidecars_are_refused(engine: Path, text: str, pattern: str) -> None:
    sidecar_path(engine).write_text(text)
    with pytest.raises(ArtefactError, match=pattern):
        read_sidecar(engine)


@pytest.mark.parametrize("change", [{"flavour": "magic"}, {"profile": 3}, {"profile": {}}, {"precision": None}])
def test_wrong_fields_are_refused(engine: Path, change: dict[str, object]) -> None:
    file = sidecar_path(engine)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ArtefactError, match="is damaged"):
        read_sidecar(engine)


def test_a_missing_sidecar(engine: Path) -> None:
    sidecar_path(engine).unlink()
    with pytest.raises(ArtefactError, match=r"has no sidecar r\.engine\.json: build the engine again"):
        read_sidecar(engine)


def test_engines_have_a_folder_of_their_own(own_cache: Path) -> None:
    assert engine_path("c" * 64, "tensorrt") == own_cache / "engines" / f"{'c' * 16}-tensorrt.engine"


def test_only_an_engine_is_an_engine(tmp_path: Path) -> None:
    """A sidecar left beside another file does not make that file an engine."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"plan")
    assert not is_engine(photo)
    sidecar = Sidecar("tensorrt", "11.0", "0" * 64, hashlib.sha256(b"plan").hexdigest(), "fp16", Profile(1, 1, 8))
    write_sidecar(photo, sidecar)
    assert is_engine(photo)
    photo.write_bytes(b"a photograph")
    assert not is_engine(photo)
