"""What of a bundle runs here: a real one on this machine's ONNX Runtime, engines for a made-up GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.doctor import Host
from edgeface_runtime.doctor.bundle_here import probe_bundle
from edgeface_runtime.doctor.finding import Finding, missing, ok
from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
from edgeface_runtime.engine_check import Here
from edgeface_runtime.engine_place import engine_path

ORIN = Here("tensorrt", "10.3.0", Gpu(0, "Orin", "8.7", "12.6"))
GPU = {"index": 0, "name": "Orin", "compute_capability": "8.7"}
ON_CPU = ok("onnxruntime, cpu", "runs", backend="onnxruntime", device="cpu")
BY_TENSORRT = ok("tensorrt", "runs", backend="tensorrt", device="cuda", version="10.3.0", gpu=GPU, driver="12.6")


def probe(folder: Path, *runners: Finding) -> list[Finding]:
    return probe_bundle(Host(), open_bundle(folder), list(runners))


def test_every_precision_is_loaded(tiny_bundle: Callable[..., Path]) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
    (found,) = probe(tiny_bundle(), ON_CPU, missing("tensorrt", "no"))
    assert (found.state, found.detail, found.facts) == ("ok", "loads fp32", {"precisions": ["fp32"]})


def test_a_graph_that_this_onnxruntime_does_not_take(tiny_bundle: Callable[..., Path]) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'edgeface[train]'")
    from edgeface_runtime.manifest import read_manifest, write_manifest

    folder = tiny_bundle()
    graph = onnx.load(folder / "recognizer.onnx")
    graph.opset_import[0].version = 99
    (folder / "recognizer.onnx").write_bytes(graph.SerializeToString())
    write_manifest(folder, read_manifest(folder))
    (found,) = probe(folder, ON_CPU)
    assert found.state == "problem" and "fp32 does not: " in found.detail
    assert found.mend == "pip install --upgrade onnxruntime"


def test_an_engine_is_there_stale_or_missing(tiny_bundle: Callable[..., Path]) -> None:
    folder = tiny_bundle()
    (found,) = probe(folder, BY_TENSORRT)
    build = f"edgeface build {folder} --backend tensorrt --precision fp32"
    assert (found.state, found.mend) == ("missing", build)

    digest = open_bundle(folder).model_sha256()
    engine = engine_path(folder, digest, ORIN)
    engine.parent.mkdir(parents=True)
    engine.write_bytes(b"plan")
    plan = hashlib.sha256(b"plan").hexdigest()

    def built(version: str) -> Finding:
        sidecar = Sidecar("tensorrt", version, digest, plan, "fp32", Profile(), "Orin", "8.7", "12.6")
        write_sidecar(engine, sidecar)
        return probe(folder, BY_TENSORRT)[0]

    assert built("10.3.0").state == "ok"
    stale = built("10.2.0")
    assert stale.state == "problem" and "built by tensorrt 10.2.0" in stale.detail and stale.mend == build
