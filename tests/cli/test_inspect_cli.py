"""`edgeface inspect` through the entry point: what people read, and --profile without a GPU."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeface_runtime.engine import Profile, Sidecar, sidecar_path, signature_path, write_sidecar


def test_a_bundle_in_ten_seconds(cli: Callable[..., Any], chain: Any) -> None:
    done = cli("inspect", chain.bundle)
    assert (done.code, done.err) == (0, "")
    first = dict(line.split(maxsplit=1) for line in done.out.splitlines()[:6])
    assert list(first) == ["bundle", "model", "files", "input", "output", "masking"]
    assert "112 high, 96 wide" in first["input"] and "covered_share" in first["output"]
    assert "at a false match rate of 0.1" in done.out
    assert "recognizer.fp16.onnx" in done.out and "tiny rank-1" in done.out
    assert "{" not in done.out, "a raw dict is shown"


def test_a_bundles_graph(cli: Callable[..., Any], chain: Any) -> None:
    graph = cli("inspect", chain.bundle / "recognizer.fp16.onnx", "--json").data
    assert graph["precision"] == "fp16"
    assert graph["macs"] == cli("inspect", chain.bundle, "--json").data["macs"]


def without(names: tuple[str, ...], *arguments: object) -> subprocess.CompletedProcess[str]:
    """`edgeface inspect` where packages are not installed."""
    code = (
        f"import sys\nfor name in {names!r}: sys.modules[name] = None\n"
        f"sys.argv = ['edgeface', 'inspect', *{[str(argument) for argument in arguments]!r}]\n"
        "from edgeface.cli.main import run\nrun()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_what_a_device_lacks(chain: Any) -> None:
    lacks = ("torch", "onnx", "onnxruntime", "safetensors", "matplotlib")
    for file in (chain.bundle, chain.gallery):
        done = without(lacks, file)
        assert (done.returncode, done.stderr) == (0, "")
    done = without(lacks, chain.bundle / "recognizer.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "edgeface: onnx is not installed: pip install 'edgeface[train]'\n"


def test_profiling_without_a_gpu_is_code_3(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeface_runtime.backends import tensorrt
    from edgeface_runtime.errors import DeviceError

    def none(index: int = 0) -> None:
        raise DeviceError("no NVIDIA driver: install one")

    monkeypatch.setattr(tensorrt, "require_gpu", none)
    engine = tmp_path / "r.engine"
    engine.write_bytes(b"plan")
    digest = hashlib.sha256(b"plan").hexdigest()
    write_sidecar(engine, Sidecar("tensorrt-rtx", "1.7", "c" * 64, digest, "fp16", Profile()))
    before = sidecar_path(engine).read_bytes()
    done = cli("inspect", engine, "--profile")
    assert (done.code, done.out, done.err) == (3, "", "edgeface: no NVIDIA driver: install one\n")
    assert sidecar_path(engine).read_bytes() == before


def test_a_signed_engine_is_not_profiled(cli: Callable[..., Any], tmp_path: Path) -> None:
    engine = tmp_path / "r.engine"
    engine.write_bytes(b"plan")
    digest = hashlib.sha256(b"plan").hexdigest()
    write_sidecar(engine, Sidecar("tensorrt-rtx", "1.7", "c" * 64, digest, "fp16", Profile()))
    signature_path(engine).write_text("{}")
    done = cli("inspect", engine, "--profile")
    assert done.code == 2 and "would break the signature" in done.err
    assert signature_path(engine).exists()
