"""Tiny recognisers and bundles: real ONNX files with known weights, small enough for every test."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.backends import open_backend
from edgeface_runtime.backends.driver import require_gpu
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.detect import Face
from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
from edgeface_runtime.errors import DeviceError, EdgefaceError
from edgeface_runtime.files import sha256_file
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.manifest import Manifest, write_manifest
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.results import Embeddings


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


def smooth_face(seed: int) -> np.ndarray:
    """(112, 96, 3) uint8: a face of soft blotches and finer ones, nowhere dark, that optical flow can follow."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(90, 230, (9, 8, 3)).astype(np.float32), (96, 112), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.normal(0, 20, (45, 38)).astype(np.float32), (96, 112), interpolation=cv2.INTER_CUBIC)
    return (coarse + fine[..., None]).clip(60, 255).astype(np.uint8)


@dataclass
class SpotFinder:
    """Finds faces where pictures are not black, and counts how often it was asked."""

    asked: int = 0

    def detect(self, image: np.ndarray) -> list[Face]:
        import cv2

        self.asked += 1
        count, _, stats, _ = cv2.connectedComponentsWithStats((image.max(axis=2) > 40).astype(np.uint8))
        faces = []
        for x, y, width, height, area in stats[1:count]:
            if area > 2000:
                box = np.array([x, y, x + width, y + height], np.float32)
                points = TEMPLATE * (width / 96, height / 112) + (x, y)
                faces.append(Face(box, points.astype(np.float32), 0.9))
        return faces

    def close(self) -> None:
        pass


class CountingRecognizer(Recognizer):
    """The tiny network; `embedded` counts the faces it embedded."""

    embedded = 0

    def embed(self, crops: np.ndarray) -> Embeddings:
        self.embedded += len(crops)
        return super().embed(crops)


@pytest.fixture
def spots(tiny_bundle: Callable[..., Path]) -> Iterator[CountingRecognizer]:
    """A recogniser that finds what is not black, by a real network of known weights."""
    bundle = open_bundle(tiny_bundle(outputs=("embedding",), masking="none"))
    backend = open_backend("onnxruntime", bundle.model_path(), threads=1)
    with CountingRecognizer(bundle, backend, detector=SpotFinder()) as recognizer:
        yield recognizer


@pytest.fixture
def scene() -> Callable[..., np.ndarray]:
    """Draws a picture: faces, as (seed, x, y), on black."""

    def draw(*faces: tuple[int, int, int], size: tuple[int, int] = (240, 320)) -> np.ndarray:
        image = np.zeros((*size, 3), np.uint8)
        for seed, x, y in faces:
            image[y : y + 112, x : x + 96] = smooth_face(seed)
        return image

    return draw


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """Writes pictures as a video of 25 a second."""
    import cv2

    def write(images: Iterable[np.ndarray], name: str = "film.avi") -> Path:
        path, writer = tmp_path / name, None
        for image in images:
            if writer is None:
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, image.shape[1::-1])
                assert writer.isOpened()
            writer.write(image)
        assert writer is not None
        writer.release()
        return path

    return write


class FakeCamera:
    """A source whose pictures are given: one after another. None is the camera going away; a DeviceError fails to
    open, other errors fail to be read."""

    related = True
    fps: float | None = None
    expected: int | None = None

    def __init__(self, *script: object, live: bool = True) -> None:
        self.name = self.label = "the fake camera"
        self.live = live
        self.script = list(script)
        self.opened = self.closed = 0

    def open(self) -> None:
        self.opened += 1
        if self.script and isinstance(self.script[0], DeviceError):
            raise self.script.pop(0)  # type: ignore[misc]

    def read(self) -> np.ndarray | None:
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Callable):  # type: ignore[arg-type]
            step = step()
        if isinstance(step, EdgefaceError):
            raise step
        return step  # type: ignore[return-value]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def camera() -> type[FakeCamera]:
    return FakeCamera


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
