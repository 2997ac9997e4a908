"""Sidecars: an engine that is damaged, stale or of another machine is refused before it is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.engine import Profile, Sidecar, is_engine, read_sidecar, sidecar_path, write_sidecar
from edgeface_runtime.engine_check import Here, build_command, checked_engine
from edgeface_runtime.errors import ArtefactError, EdgefaceError, EngineError, InputError

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


ORIN = Gpu(0, "Orin", "8.7", "12.6")
HERE = Here("tensorrt", "10.3.0", ORIN)


def check(
    engine: Path, sidecar: Sidecar | None = None, onnx_sha256: str | None = "c" * 64, here: Here = HERE
) -> None:
    """What is returned is what was hashed."""
    if sidecar is not None:
        write_sidecar(engine, sidecar)
    checked = checked_engine(engine, here, onnx_sha256)
    assert (checked.path, checked.plan, checked.sidecar) == (engine, PLAN, sidecar or SIDECAR)


def refused(engine: Path, error: type[EdgefaceError], pattern: str, here: Here = HERE) -> None:
    with pytest.raises(error, match=pattern) as info:
        check(engine, here=here)
    assert "edgeface build" in str(info.value)
    assert "\n" not in str(info.value)


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
        ({"driver": "12.7"}, EngineError, r"a driver for CUDA 12.7, here is an older one, for CUDA 12.6"),
        ({"driver": "13.0"}, EngineError, "a driver for CUDA 13.0"),
        ({"version_compatible": True, "tensorrt_version": "10.3.1"}, EngineError, "built by tensorrt 10.3.1"),
        ({"version_compatible": True, "tensorrt_version": "9.9.0"}, EngineError, "built by tensorrt 9.9.0"),
        ({"version_compatible": True, "tensorrt_version": "11.0"}, EngineError, "built by tensorrt 11.0"),
        ({"version_compatible": True, "tensorrt_version": "dev"}, EngineError, "built by tensorrt dev"),
        (
            {"version_compatible": True, "flavour": "tensorrt-rtx", "tensorrt_version": "10.0"},
            EngineError,
            "built by tensorrt-rtx",
        ),
        (
            {"hardware_compatibility": "same-compute-capability", "compute_capability": "8.6"},
            EngineError,
            "compute capability 8.6",
        ),
        ({"onnx_sha256": "d" * 64}, ArtefactError, f"built from model {'d' * 12}, not {'c' * 12}"),
        ({"engine_sha256": "e" * 64}, ArtefactError, "is damaged"),
    ],
)
def test_a_foreign_engine_is_refused(
    engine: Path, changes: dict[str, str], error: type[Exception], pattern: str
) -> None:
    write_sidecar(engine, replace(SIDECAR, **changes))  # type: ignore[arg-type]
    refused(engine, error, pattern)


@pytest.mark.parametrize(
    "changes",
    [
        {"driver": "12.5"},
        {"driver": "11.8"},
        {"driver": None},
        {"version_compatible": True, "tensorrt_version": "10.2.9"},
        {"version_compatible": True, "tensorrt_version": "10.3.0"},
        {"hardware_compatibility": "same-compute-capability", "gpu": "Orin Nano"},
        {"hardware_compatibility": "ampere-plus", "gpu": "RTX A2000", "compute_capability": "8.6"},
    ],
)
def test_an_engine_that_was_made_for_here_too(engine: Path, changes: dict[str, object]) -> None:
    check(engine, replace(SIDECAR, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("capability", "runs"), [("7.5", False), ("8.0", True), ("9.0", True), ("12.0", True)])
def test_ampere_plus_is_8_0_or_more(engine: Path, capability: str, runs: bool) -> None:
    here = replace(HERE, gpu=replace(ORIN, name="other", compute_capability=capability))
    sidecar = replace(SIDECAR, hardware_compatibility="ampere-plus")
    if runs:
        check(engine, sidecar, here=here)
    else:
        write_sidecar(engine, sidecar)
        refused(engine, EngineError, "built for Orin", here)


def test_a_refusal_names_the_whole_command(engine: Path) -> None:
    here = replace(HERE, tensorrt_version="10.7.0")
    refused(engine, EngineError, "edgeface build BUNDLE --backend tensorrt --precision fp16$", here)
    assert build_command("a b.bundle", "tensorrt-rtx", "int8", 1) == (
        "CUDA_VISIBLE_DEVICES=1 edgeface build 'a b.bundle' --backend tensorrt-rtx --precision int8"
    )


def test_an_rtx_engine_built_without_a_gpu_runs_on_any(engine: Path) -> None:
    sidecar = replace(SIDECAR, flavour="tensorrt-rtx", tensorrt_version="1.7", gpu=None, compute_capability=None)
    check(engine, sidecar, here=Here("tensorrt-rtx", "1.7", Gpu(0, "RTX", "12.0", "13.0")))


def test_empty_flipped_and_missing_engines(engine: Path) -> None:
    for content, why in ((b"b plan", "SHA-256 differs"), (PLAN[:-1], "SHA-256 differs"), (b"", "it is empty")):
        engine.write_bytes(content)
        refused(engine, ArtefactError, rf"r\.engine is damaged \({why}")
    engine.unlink()
    with pytest.raises(InputError, match="engine not found"):
        check(engine)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("{", "it is not JSON"),
        ("", "it is not JSON"),
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
    refused(engine, ArtefactError, pattern)


@pytest.mark.parametrize(
    "change",
    [
        {"flavour": "magic"},
        {"profile": 3},
        {"profile": {}},
        {"precision": None},
        {"version_compatible": "yes"},
        {"hardware_compatibility": "all"},
        {"engine_sha256": "e" * 64},
    ],
)
def test_wrong_fields_are_refused(engine: Path, change: dict[str, object]) -> None:
    file = sidecar_path(engine)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ArtefactError, match="is damaged"):
        read_sidecar(engine)


def test_a_missing_sidecar(engine: Path) -> None:
    sidecar_path(engine).unlink()
    refused(
        engine,
        ArtefactError,
        r"has no sidecar r\.engine\.json: build it again with edgeface build BUNDLE --backend tensorrt$",
    )


def test_an_older_sidecar_has_neither_checksum_nor_compatibility(engine: Path) -> None:
    file = sidecar_path(engine)
    data = json.loads(file.read_text())
    for name in ("sidecar_sha256", "version_compatible", "hardware_compatibility"):
        del data[name]
    file.write_text(json.dumps(data))
    check(engine)


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
