"""Keys, signatures and engines on demand through the command line."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("cryptography", reason="needs cryptography: pip install 'edgeface[sign]'")
onnx = pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle, faces of six people, and a pair of keys made by the command."""
    from edgeface_runtime.align import TEMPLATE
    from edgeface_runtime.manifest import Manifest, write_manifest

    root = tmp_path_factory.mktemp("signing")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).standard_normal((126, 64)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", kind, ["batch", 3, 112, 96])],
        [helper.make_tensor_value_info("embedding", kind, ["batch", 64])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    (root / "b").mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(root / "b" / "recognizer.onnx"))
    template = tuple((float(x), float(y)) for x, y in TEMPLATE)
    write_manifest(
        root / "b",
        Manifest("tiny", "2026-01-02T03:04:05+00:00", {"fp32": "recognizer.onnx"}, template, embedding_size=64),
    )
    generator = np.random.default_rng(1)
    for person in range(6):
        folder = root / "faces" / f"person{person}"
        folder.mkdir(parents=True)
        for number in range(4):
            noise = generator.integers(0, 256, (112, 96, 3), np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), noise)
    return root


@pytest.fixture
def bundle(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "b", tmp_path / "b"))


@pytest.fixture(scope="module")
def keys(cli: Cli, root: Path) -> dict[str, str]:
    done = cli("bundle", "keygen", "--out", root / "keys", "--json")
    assert done.code == 0, done
    made: dict[str, str] = done.data
    return made


def test_keygen_says_what_is_private(cli: Cli, tmp_path: Path) -> None:
    done = cli("bundle", "keygen", "--out", tmp_path / "keys")
    private, public = done.out.splitlines()
    assert private.startswith(f"private key {tmp_path}/keys/edgeface-private.pem: keep it secret and off devices")
    assert public.startswith(f"public key {tmp_path}/keys/edgeface-public.pem")
    assert stat.S_IMODE((tmp_path / "keys" / "edgeface-private.pem").stat().st_mode) == 0o600
    again = cli("bundle", "keygen", "--out", tmp_path / "keys")
    assert (again.code, again.out, again.err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_sign_and_verify(cli: Cli, bundle: Path, tmp_path: Path, keys: dict[str, str], kind: str) -> None:
    from edgeface_runtime.bundle import pack_bundle

    target = bundle if kind == "folder" else pack_bundle(bundle, tmp_path / "b.tar")
    unsigned = cli("bundle", "verify", target, "--key", keys["public"])
    assert (unsigned.code, unsigned.out, unsigned.err.count("\n")) == (2, "", 1)
    assert "is not signed" in unsigned.err
    done = cli("bundle", "sign", target, "--key", keys["private"], "--json", "--quiet")
    assert (done.code, done.err, done.data["key"]) == (0, "", keys["key"])
    checked = cli("bundle", "verify", target, "--key", keys["public"])
    assert (checked.code, checked.out) == (0, f"{target}: signed by key {keys['key'][:12]}, nothing altered\n")
    for command, key in (("sign", keys["public"]), ("verify", keys["private"])):
        wrong = cli("bundle", command, target, "--key", key)
        assert (wrong.code, wrong.out, wrong.err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    "command",
    [
        "identify {b} x.jpg --gallery g.db",
        "enroll {b} Ann x.jpg --gallery g.db",
        "verify {b} a.jpg b.jpg",
        "evaluate {b} --images {faces} --protocol identify",
        "calibrate threshold {b} --data {faces} --fmr .1",
    ],
)
def test_an_unsigned_bundle_is_refused_where_signatures_are_required(
    cli: Cli, root: Path, bundle: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    words = [word.format(b=bundle, faces=root / "faces") for word in command.split()]
    by_flag = cli(*words, "--require-signature", keys["public"])
    monkeypatch.setenv("EDGEFACE_REQUIRE_SIGNATURE", keys["public"])
    by_variable = cli(*words)
    for done in (by_flag, by_variable):
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done
        assert f"bundle {bundle} is not signed" in done.err


def test_a_checkpoint_is_refused_where_signatures_are_required(
    cli: Cli, root: Path, tmp_path: Path, keys: dict[str, str]
) -> None:
    from edgeface.models import FaceNet, build_spec
    from edgeface.models.checkpoint import CheckpointMeta, save_checkpoint

    path = tmp_path / "m.safetensors"
    save_checkpoint(path, FaceNet(build_spec("mobilefacenet", 0.25)), CheckpointMeta())
    words = ("evaluate", path, "--images", root / "faces", "--protocol", "identify")
    done = cli(*words, "--require-signature", keys["public"])
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "is a checkpoint, which carries no signature" in done.err


def test_a_threshold_takes_the_signature_away_and_says_so(
    cli: Cli, root: Path, bundle: Path, keys: dict[str, str]
) -> None:
    assert cli("bundle", "sign", bundle, "--key", keys["private"]).code == 0
    words = ("calibrate", "threshold", bundle, "--data", root / "faces", "--fmr", ".15", "--json")
    done = cli(*words, "--require-signature", keys["public"])
    assert done.code == 0, done
    assert f"signature removed from {bundle}: sign it again with edgeface bundle sign" in done.err
    assert done.data["signature_removed"] is True
    assert not (bundle / "manifest.sig").exists()
    again = cli(*words)
    assert again.data["signature_removed"] is False and "signature" not in again.err
    assert cli(*words, "--require-signature", keys["public"]).code == 2


def test_a_record_takes_the_signature_away_and_says_so(
    cli: Cli, root: Path, bundle: Path, keys: dict[str, str]
) -> None:
    assert cli("bundle", "sign", bundle, "--key", keys["private"]).code == 0
    done = cli("evaluate", bundle, "--images", root / "faces", "--protocol", "identify", "--record")
    assert done.code == 0, done
    assert f"signature removed from {bundle}: sign it again" in done.err
    assert not (bundle / "manifest.sig").exists()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in driver, TensorRT and builder; an engine runs as the ONNX file of the bundle."""
    from edgeface_runtime.backends import tensorrt
    from edgeface_runtime.backends.driver import Gpu
    from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
    from edgeface_runtime.files import sha256_file

    found = SimpleNamespace(__version__="10.3.0", built=[], model=None)
    gpu = Gpu(0, "Orin", "8.7", "12.6")

    def build(model: Path, out: Path, backend: str, settings: Any, *, progress: Any) -> None:
        found.built.append(out)
        progress("building", 1, 1)
        out.write_bytes(b"plan")
        facts = (
            backend,
            found.__version__,
            sha256_file(model),
            sha256_file(out),
            settings.precision,
            Profile(1, 1, 8),
        )
        write_sidecar(out, Sidecar(*facts, gpu.name, gpu.compute_capability, gpu.driver))

    def run(checked: Any, here: Any, again: str) -> Any:
        from edgeface_runtime.backends import open_backend

        return open_backend("onnxruntime", found.model)

    monkeypatch.setitem(sys.modules, "tensorrt", found)
    monkeypatch.setattr(tensorrt, "require_gpu", lambda index: gpu)
    monkeypatch.setattr(tensorrt, "run_engine", run)
    monkeypatch.setattr("edgeface_export.build.build_engine", build)
    return found


def test_an_engine_is_built_when_needed(
    cli: Cli, root: Path, bundle: Path, machine: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    machine.model = bundle / "recognizer.onnx"
    here = ("--backend", "tensorrt", "--precision", "fp32")
    words = ("calibrate", "threshold", bundle, "--data", root / "faces", "--fmr", ".15", "--json", *here)
    refused = cli(*words, "--no-build")
    assert (refused.code, refused.out, machine.built) == (3, "", [])
    assert refused.err.endswith(f"build it with edgeface build {bundle} --backend tensorrt --precision fp32\n")
    first = cli(*words)
    assert first.code == 0, first
    why, wrote = first.err.splitlines()[:2]
    assert why.startswith("no tensorrt engine of the fp32 model") and why.endswith(
        "building it now, which may take minutes"
    )
    assert wrote == f"wrote {machine.built[0]}"
    assert json.loads(first.out)["signature_removed"] is False
    second = cli(*words, "--no-build")
    assert second.code == 0 and "building" not in second.err and len(machine.built) == 1
    machine.__version__ = "10.7.0"
    third = cli("evaluate", bundle, "--images", root / "faces", "--protocol", "identify", *here)
    assert third.code == 0, third
    assert "was built by tensorrt 10.3.0, here is tensorrt 10.7.0: building it now" in third.err
    assert len(machine.built) == 2
    machine.__version__ = "10.8.0"
    quiet = cli("evaluate", bundle, "--images", root / "faces", "--protocol", "identify", *here, "--quiet")
    assert (quiet.code, quiet.err, len(machine.built)) == (0, "", 3)


def test_build_writes_where_loading_looks(
    cli: Cli, bundle: Path, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real builder of TensorRT-RTX; the engine is found for any GPU, and can be signed."""
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt_rtx: pip install 'edgeface[rtx]'")
    from edgeface_runtime.backends.driver import Gpu
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.engine_check import Here
    from edgeface_runtime.engine_place import find_engine

    monkeypatch.delenv("EDGEFACE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    done = cli("build", bundle, "--backend", "tensorrt-rtx", "--precision", "fp32", "--json")
    assert done.code == 0, done
    engine = Path(done.data["engine"])
    assert engine.parent == tmp_path / "b.engines"
    assert sorted(path.name for path in engine.parent.iterdir()) == [engine.name, engine.name + ".json"]
    here = Here("tensorrt-rtx", trt.__version__, Gpu(0, "RTX", "12.0", "13.0"))
    found = find_engine(bundle, open_bundle(bundle).model_id, "fp32", here, "build it")
    assert (found.path, found.plan) == (engine, engine.read_bytes())
    assert cli("bundle", "sign", engine, "--key", keys["private"]).code == 0
    checked = cli("bundle", "verify", engine, "--key", keys["public"])
    assert (checked.code, checked.err) == (0, "")
    engine.write_bytes(engine.read_bytes()[:-1])
    damaged = cli("bundle", "verify", engine, "--key", keys["public"])
    assert (damaged.code, damaged.out) == (2, "") and "SHA-256 differs" in damaged.err


def test_a_benchmark_takes_the_engine_kept_for_here(
    bundle: Path, machine: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import edgeface_export.build
    from edgeface.workflows.benchmark import BenchmarkSettings, _compiled, bundle_subjects
    from edgeface_runtime.backends.tensorrt import look_here
    from edgeface_runtime.engine_place import engine_path
    from edgeface_runtime.errors import EngineError
    from edgeface_runtime.files import sha256_file

    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    settings = BenchmarkSettings("tensorrt", "cuda", batches=(1, 8), precision="fp32", no_build=True)
    (subject,) = bundle_subjects([bundle], settings)
    with pytest.raises(EngineError, match=r"build it with edgeface build .* --max-batch 8, or leave --no-build out"):
        _compiled(subject, settings, tmp_path, lambda _: None)
    path = engine_path(bundle, sha256_file(subject.model), look_here("tensorrt").here)
    path.parent.mkdir(parents=True)
    wanted = edgeface_export.build.BuildSettings("fp32")
    edgeface_export.build.build_engine(subject.model, path, "tensorrt", wanted, progress=lambda *_: None)
    assert _compiled(subject, settings, tmp_path, lambda _: None) == path
