"""Tiny recognisers and bundles: real ONNX files with known weights, small enough for every test."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.backends.driver import require_gpu
from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
from edgeface_runtime.errors import DeviceError
from edgeface_runtime.files import sha256_file
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.manifest import Manifest, write_manifest


def write_tiny_onnx(path: Path, seed: int = 0, size: int = 512, half: bool = False) -> np.ndarray:
    """A recogniser: 16x16 average pooling, one linear layer, L2 norm. Returns its weights (126, size) float32.

    `covered_share` is the mean of the input brought to [0, 1]: 1 for a white picture, 0 for a black one.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    weights = np.random.default_rng(seed).standard_normal((126, size)).astype(dtype)
    constants = {"w": weights, "halved": np.array(0.5, dtype), "axes": np.array([1, 2, 3], np.int64)}
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "halved"], ["scaled"]),
        helper.make_node("Add", ["scaled", "halved"], ["covered_share"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", kind, ["batch", 3, 112, 96])],
        [
            helper.make_tensor_value_info("embedding", kind, ["batch", size]),
            helper.make_tensor_value_info("covered_share", kind, ["batch"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return weights.astype(np.float32)


def make_manifest(**changes: object) -> Manifest:
    facts: dict[str, object] = {
        "name": "tiny",
        "created": "2026-01-02T03:04:05+00:00",
        "models": {"fp32": "recognizer.onnx"},
        "template": tuple((float(x), float(y)) for x, y in TEMPLATE),
        "outputs": ("embedding", "covered_share"),
        "masking": "decoder",
        "thresholds": {"1e-2": 0.3, "1e-3": 0.5},
        **changes,
    }
    return Manifest(**facts)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EDGEFACE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")
    path = tmp_path_factory.mktemp("tiny") / "recognizer.onnx"
    return path, write_tiny_onnx(path)


@pytest.fixture
def tiny_bundle(tmp_path: Path, tiny_weights: tuple[Path, np.ndarray]) -> Callable[..., Path]:
    """Makes a bundle's folder; keyword arguments change its manifest."""

    def make(name: str = "bundle", **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recognizer.onnx").write_bytes(tiny_weights[0].read_bytes())
        write_manifest(folder, make_manifest(**changes))
        return folder

    return make


@pytest.fixture
def no_driver() -> str:
    """Why no GPU can be used here; empty when one can."""
    try:
        require_gpu()
    except DeviceError as exc:
        return str(exc)
    return ""


@pytest.fixture
def build_rtx() -> Callable[[Path, Path], None]:
    """Makes a real engine and sidecar by TensorRT-RTX, which needs no GPU to build: (ONNX file, engine)."""
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt_rtx: pip install 'edgeface[rtx]'")

    def build(onnx_path: Path, out: Path) -> None:
        builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
        assert parser.parse(onnx_path.read_bytes())
        config = builder.create_builder_config()
        profile = builder.create_optimization_profile()
        profile.set_shape("input", (1, 3, 112, 96), (2, 3, 112, 96), (4, 3, 112, 96))
        config.add_optimization_profile(profile)
        out.write_bytes(bytes(builder.build_serialized_network(network, config)))
        write_sidecar(
            out,
            Sidecar(
                flavour="tensorrt-rtx",
                tensorrt_version=trt.__version__,
                onnx_sha256=sha256_file(onnx_path),
                engine_sha256=sha256_file(out),
                precision="fp32",
                profile=Profile(1, 2, 4),
            ),
        )

    return build


class Damage:
    """Galleries to damage, and what is in them by plain sqlite3 and by looking for bytes."""

    @staticmethod
    def vectors(count: int, seed: int = 0, size: int = 128) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)

    @staticmethod
    def make(path: Path, people: int = 60, each: int = 2, size: int = 128) -> dict[int, tuple[str, bytes, str]]:
        """A gallery of that many people, some of whom came and went; what it holds."""
        with Gallery(path, "a" * 64, size, create=True) as gallery:
            names = [f"person {k // each:03d}" for k in range(people * each)]
            sources = [f"picture-{k:04d}.jpg" for k in range(people * each)]
            gallery.enroll_batch(names, Damage.vectors(len(names), size=size), sources)
            for k in (3, 31):
                if k < people:
                    assert gallery.delete(f"person {k:03d}").erased
            gallery.enroll("last", Damage.vectors(1, 77, size)[0], "last.jpg")
        return Damage.truth(path)

    @staticmethod
    def truth(path: Path) -> dict[int, tuple[str, bytes, str]]:
        """id -> name, template, source, by plain sqlite3 on a copy."""
        copy = path.with_name("truth.db")
        shutil.copy(path, copy)
        wal = path.with_name(path.name + "-wal")
        if wal.exists():
            shutil.copy(wal, copy.with_name("truth.db-wal"))
        connection = sqlite3.connect(copy)
        rows = connection.execute("SELECT id, name, template, source FROM templates").fetchall()
        connection.close()
        for left in path.parent.glob("truth.db*"):
            left.unlink()
        return {row[0]: row[1:] for row in rows}

    @staticmethod
    def pages_of(data: bytes, rows: dict[int, tuple[str, bytes, str]]) -> dict[int, int]:
        """Row -> page (from 0) it lies on, by where its template's bytes are."""
        found = {}
        for row_id, (_, template, _) in rows.items():
            at = data.index(template)
            assert data.count(template) == 1
            assert at // 4096 == (at + len(template) - 1) // 4096
            found[row_id] = at // 4096
        return found


@pytest.fixture
def damage() -> type[Damage]:
    return Damage
