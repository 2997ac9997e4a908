"""The detector against a plain second implementation of MTCNN: the package's layers in numpy, a window at a time.

It is slow and shares nothing with the runtime but the halved pictures, whose sampling is a choice and no result.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime.detect import Detector, Face
from edgeface_runtime.image import read_image
from edgeface_runtime.mtcnn_networks import OPENERS, face_share, planes
from edgeface_runtime.mtcnn_pyramid import Pyramid

NETS = Path(__file__).resolve().parents[2] / "runtime" / "edgeface_runtime" / "mtcnn"
SAME_BOX, SAME_POINTS, SAME_SHARE = 0.9, 1.5, 0.99
"""The IoU and the pixels at which two faces are the same, and the share of faces that must be."""

Array = np.ndarray
Network = Callable[[Array], tuple[Array, ...]]


def conv(x: Array, kernel: Array, bias: Array) -> Array:
    views = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    return np.einsum("nyxcij,ijco->nyxo", views, kernel, optimize=True) + bias


def prelu(x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, x * slope)


def pool(x: Array, size: int, same: bool) -> Array:
    """Keras's maximum pooling with steps of 2; "same" pads the far edges of these sizes."""
    n, height, width, channels = x.shape
    rows, columns = ((v + 1) // 2 if same else (v - size) // 2 + 1 for v in (height, width))
    padded = np.full((n, 2 * rows + size, 2 * columns + size, channels), -np.inf, np.float32)
    padded[:, :height, :width] = x
    parts = [padded[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2] for i in range(size) for j in range(size)]
    return np.max(parts, axis=0)


def flat(x: Array) -> Array:
    return x.transpose(0, 2, 1, 3).reshape(len(x), -1)


def softmax_face(x: Array) -> Array:
    shares = np.exp(x - x.max(axis=-1, keepdims=True))
    return shares[..., 1] / shares.sum(axis=-1)


def pnet(w: list[Array], x: Array) -> tuple[Array, ...]:
    x = pool(prelu(conv(x, w[0], w[1]), w[2]), 2, same=True)
    x = prelu(conv(prelu(conv(x, w[3], w[4]), w[5]), w[6], w[7]), w[8])
    return conv(x, w[9], w[10]), softmax_face(conv(x, w[11], w[12]))


def rnet(w: list[Array], x: Array) -> tuple[Array, ...]:
    x = pool(prelu(conv(x, w[0], w[1]), w[2]), 3, same=True)
    x = pool(prelu(conv(x, w[3], w[4]), w[5]), 3, same=False)
    x = prelu(conv(x, w[6], w[7]), w[8])
    x = prelu(flat(x) @ w[9] + w[10], w[11])
    return x @ w[12] + w[13], softmax_face(x @ w[14] + w[15])


def onet(w: list[Array], x: Array) -> tuple[Array, ...]:
    x = pool(prelu(conv(x, w[0], w[1]), w[2]), 3, same=True)
    x = pool(prelu(conv(x, w[3], w[4]), w[5]), 3, same=False)
    x = pool(prelu(conv(x, w[6], w[7]), w[8]), 2, same=True)
    x = prelu(conv(x, w[9], w[10]), w[11])
    x = prelu(flat(x) @ w[12] + w[13], w[14])
    points = (x @ w[17] + w[18]).reshape(-1, 2, 5).transpose(0, 2, 1)
    return x @ w[15] + w[16], softmax_face(x @ w[19] + w[20]), points


def network_input(pixels: Array) -> Array:
    return ((pixels[..., ::-1].astype(np.float32) - 127.5) / 128).astype(np.float32)


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    joblib = pytest.importorskip("joblib", reason="needs joblib: pip install 'edgeface[dev]'")
    if importlib.util.find_spec("mtcnn") is None:
        pytest.skip("needs mtcnn: pip install 'edgeface[dev]'")
    files = {file.name: file.locate() for file in importlib.metadata.files("mtcnn") or []}

    def network(name: str, layers: Callable[[list[Array], Array], tuple[Array, ...]]) -> Network:
        weights = joblib.load(files[f"{name}.lz4"])
        return lambda pixels: layers(weights, network_input(pixels))

    return {name: network(name, layers) for name, layers in (("pnet", pnet), ("rnet", rnet), ("onet", onet))}


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
    with Detector() as opened:
        yield opened


def share(a: Array, b: Array, smaller: bool = False) -> float:
    """Intersection of two boxes over their union, or over the smaller one."""
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(width * height / (min(areas) if smaller else sum(areas) - width * height))


def greedy(boxes: Array, scores: Array, threshold: float, smaller: bool = False) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(share(boxes[j], boxes[i], smaller) <= threshold for j in kept):
            kept.append(int(i))
    return kept


def moved(box: Array, offset: Array) -> Array:
    return box + offset * np.tile(box[2:] - box[:2], 2)


def squared(box: Array) -> Array:
    centre, half = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2]) / 2
    return np.concatenate([centre - half, centre + half])


def cut(pyramid: Pyramid, box: Array, side: int) -> Array:
    """One window from the halved picture whose pixels come nearest to the window's."""
    box = np.floor(box).astype(np.float32)
    number = max(0, int(np.rint(np.log2(max((box[2] - box[0]) / side, 1e-3)))))
    level, whole = pyramid.level(2.0**number), pyramid.level(1)
    ratio = np.array(level.shape[1::-1]) / whole.shape[1::-1]
    low, high = box[:2] * ratio, box[2:] * ratio
    places = low + (high - low) * ((np.arange(side) + 0.5) / side)[:, None] - 0.5
    x, y = np.meshgrid(places[:, 0].astype(np.float32), places[:, 1].astype(np.float32))
    return np.asarray(cv2.remap(level, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))


def plain_detect(networks: dict[str, Network], image: Array) -> list[tuple[Array, Array]]:
    """Boxes and landmarks by the cascade as it is described: minimum face 40, thresholds .6/.7/.7."""
    pyramid, (height, width) = Pyramid(image), image.shape[:2]
    boxes, scores, offsets = np.empty((0, 4)), np.empty(0), np.empty((0, 4))
    scale = 12 / 40
    while min(height, width) * scale >= 12:
        rows, columns = int(np.ceil(height * scale)), int(np.ceil(width * scale))
        moves, heat = networks["pnet"](pyramid.resized(rows, columns)[None])
        y, x = np.nonzero(heat[0] >= 0.6)
        step = np.array([width / columns, height / rows])
        at = np.stack([x, y], axis=1) * 2
        found = np.concatenate([(at + 1) * step - 1, (at + 12) * step], axis=1)
        kept = greedy(np.concatenate([at, at + 11], axis=1), heat[0, y, x], 0.5)
        boxes = np.concatenate([boxes, found[kept]])
        scores = np.concatenate([scores, heat[0, y, x][kept]])
        offsets = np.concatenate([offsets, moves[0, y, x][kept]])
        scale *= 0.709
    boxes = np.array([squared(moved(boxes[i], offsets[i])) for i in greedy(boxes, scores, 0.7)])
    if len(boxes):
        offsets, scores = networks["rnet"](np.stack([cut(pyramid, box, 24) for box in boxes]))
        boxes, offsets, scores = (part[scores > 0.7] for part in (boxes, offsets, scores))
        boxes = np.array([squared(moved(boxes[i], offsets[i])) for i in greedy(boxes, scores, 0.7)])
    if not len(boxes):
        return []
    offsets, scores, points = networks["onet"](np.stack([cut(pyramid, box, 48) for box in boxes]))
    boxes, offsets, points, scores = (part[scores > 0.7] for part in (boxes, offsets, points, scores))
    points = boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])
    boxes = np.array([moved(box, offset) for box, offset in zip(boxes, offsets, strict=True)])
    return [(boxes[i], points[i]) for i in greedy(boxes, scores, 0.7, smaller=True)]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pnet", (2, 17, 21)),
        ("pnet", (1, 12, 12)),
        ("pnet", (1, 40, 33)),
        ("rnet", (3, 24, 24)),
        ("onet", (2, 48, 48)),
    ],
)
def test_the_networks_equal_their_keras_layers(
    networks: dict[str, Network], name: str, shape: tuple[int, int, int]
) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    output = np.moveaxis(OPENERS["onnxruntime"](NETS / f"{name}.onnx", 1)(planes(pixels)), 1, -1)
    expected = networks[name](pixels)
    np.testing.assert_allclose(output[..., :4], expected[0], atol=1e-4)
    np.testing.assert_allclose(face_share(output[..., 4]), expected[1], atol=1e-5)
    if name == "onet":
        np.testing.assert_allclose(output[:, 5:].reshape(-1, 5, 2), expected[2], atol=1e-4)


def test_the_slow_cascade_finds_the_same_astronaut(detector: Detector, networks: dict[str, Network]) -> None:
    pictures = pytest.importorskip("skimage.data", reason="needs scikit-image: pip install 'edgeface[demo]'")
    image = np.ascontiguousarray(pictures.astronaut()[..., ::-1])
    ((box, points),) = plain_detect(networks, image)
    (face,) = detector.detect(image)
    assert same(face, box, points)


def same(face: Face, box: Array, points: Array) -> bool:
    off = np.linalg.norm(face.landmarks - points, axis=1).max()
    return share(face.box, box) >= SAME_BOX and bool(off <= SAME_POINTS)


@pytest.mark.data
def test_faces_equal_the_slow_cascades(detector: Detector, networks: dict[str, Network], data_dir: Path) -> None:
    """On every twelfth photograph; a picture may differ in one of a hundred."""
    paths = sorted((data_dir / "photos").glob("*/*.jpg"))[::12]
    agreeing = counts = faces = 0
    for path in paths:
        image = read_image(path)
        expected, found = plain_detect(networks, image), detector.detect(image)
        counts += len(expected) == len(found)
        faces += len(expected)
        agreeing += sum(any(same(face, box, points) for face in found) for box, points in expected)
    assert len(paths) >= 30 and faces >= 30
    assert agreeing >= SAME_SHARE * faces and counts >= SAME_SHARE * len(paths)
