"""Detection: box arithmetic by hand and by brute force, networks against the package, faces on real pictures."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime import mtcnn_boxes
from edgeface_runtime.detect import Detector, Face, largest_central
from edgeface_runtime.errors import FaceError, ImageError, InputError, MissingExtraError
from edgeface_runtime.image import read_image
from edgeface_runtime.mtcnn_boxes import grid_boxes, grid_peaks, nms, overlap, pyramid_scales, regress, square
from edgeface_runtime.mtcnn_networks import face_share, logit, planes
from edgeface_runtime.mtcnn_proposals import propose
from edgeface_runtime.mtcnn_pyramid import Pyramid

ROOT = Path(__file__).resolve().parents[2]
NETS = ROOT / "runtime" / "edgeface_runtime" / "mtcnn"


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
    with Detector() as opened:
        yield opened


def boxes_of(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def greedy(boxes: np.ndarray, scores: np.ndarray, threshold: float, over: str) -> list[int]:
    """Non-maximum suppression as it is usually written: one box, one pair at a time."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(overlap(boxes[[j]], boxes[[i]], over)[0, 0] <= threshold for j in kept):
            kept.append(int(i))
    return kept


def test_overlap_by_hand() -> None:
    a, b = boxes_of((0, 0, 4, 4)), boxes_of((2, 0, 4, 2), (3, 3, 7, 7), (4, 0, 8, 4))
    np.testing.assert_allclose(overlap(a, b), [[4 / 16, 1 / 31, 0]], rtol=1e-6)
    np.testing.assert_allclose(overlap(a, b, "smaller"), [[1, 1 / 16, 0]], rtol=1e-6)


@pytest.mark.parametrize("over", ["union", "smaller"])
@pytest.mark.parametrize("block", [7, 512])
def test_nms_is_the_greedy_one(monkeypatch: pytest.MonkeyPatch, over: str, block: int) -> None:
    monkeypatch.setattr(mtcnn_boxes, "BLOCK", block)
    rng = np.random.default_rng(2)
    corner = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (80, 2))], axis=1).astype(np.float32)
    scores = rng.integers(0, 30, 80).astype(np.float32)  # with ties
    for threshold in (0.2, 0.5, 0.7):
        assert nms(boxes, scores, threshold, over).tolist() == greedy(boxes, scores, threshold, over)
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []


def test_grid_peaks_are_greedy_suppression_at_half_overlap() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        scores = rng.permutation(23 * 31).reshape(23, 31).astype(np.float32) / 800
        rows, columns = np.nonzero(scores >= 0.3)
        candidates = grid_boxes(rows, columns, np.ones(2))
        expected = np.zeros(scores.shape, bool)
        kept = nms(candidates, scores[rows, columns], 0.5)
        expected[rows[kept], columns[kept]] = True
        assert (grid_peaks(scores, 0.3) == expected).all()


def test_box_arithmetic_by_hand() -> None:
    assert grid_boxes(np.array([3]), np.array([5]), np.array([2.0, 4.0])).tolist() == [[21, 27, 44, 72]]
    moved = regress(boxes_of((10, 20, 20, 40)), boxes_of((0.1, -0.1, 0, 0.5)))
    np.testing.assert_allclose(moved, [[11, 18, 20, 50]])
    assert square(boxes_of((10, 20, 20, 40))).tolist() == [[5, 20, 25, 40]]
    assert pyramid_scales(240, 100, 40, 0.5) == [0.3, 0.15]
    assert pyramid_scales(39, 400, 40, 0.709) == []
    assert pyramid_scales(240, 240, 40, 0.5, max_face=80) == [0.3, 0.15]
    assert pyramid_scales(240, 240, 40, 0.5, max_face=79) == [0.3]
    with np.errstate(over="raise"):
        assert face_share(np.float32([-500, 0, logit(0.7), 500])).tolist() == pytest.approx([0, 0.5, 0.7, 1])


def test_scales_do_not_suppress_each_other() -> None:
    """The last row of one scale and the first of the next both hold a face."""

    def pnet(pixels: np.ndarray) -> np.ndarray:
        rows = (pixels.shape[2] - 10) // 2
        output = np.full((1, 5, rows, rows), -9, np.float32)
        output[0, :4] = 0
        output[0, 4, rows - 1 if rows == 15 else 0, 0] = rows
        return output

    found = propose(pnet, Pyramid(np.zeros((80, 80, 3), np.uint8)), [0.5, 0.25], 0.6)
    assert found.tolist() == [[1, 57, 24, 80], [3, 3, 48, 48]]


def test_windows_keep_their_place_and_are_black_outside() -> None:
    image = np.zeros((64, 80, 3), np.uint8)
    image[16:32, 32:48] = (10, 120, 240)
    inside, corner = Pyramid(image).windows(boxes_of((32, 16, 48, 32), (-16, -16, 16, 16)), 24)
    assert (inside[1:-1, 1:-1] == (10, 120, 240)).all()
    assert not corner.any()
    ramp = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 128, axis=0).repeat(3, axis=2)
    window = Pyramid(ramp).windows(boxes_of((0, 0, 128, 128)), 24)[0, 12, :, 0]
    np.testing.assert_allclose(window[2:-2], (np.arange(24) * 128 / 24 + 128 / 48 - 0.5)[2:-2], atol=1.5)


def test_planes_keep_colours_and_values() -> None:
    pixels = np.array([0, 127, 255, 1, 2, 3], np.uint8).reshape(1, 1, 2, 3)
    assert planes(pixels).tolist() == [[[[0, 1]], [[127, 2]], [[255, 3]]]] and planes(pixels).dtype == np.float32


def test_the_committed_networks_are_what_the_script_makes() -> None:
    for package in ("mtcnn", "joblib", "onnx"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install 'edgeface[dev,train]'")
    import joblib

    spec = importlib.util.spec_from_file_location("convert_mtcnn", ROOT / "scripts" / "convert_mtcnn.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    sys.modules["convert_mtcnn"] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    import onnx

    for name in script.NETS:
        model = script.convert(name, joblib.load(script.package_file(f"{name}.lz4")))
        assert onnx.load(NETS / f"{name}.onnx").graph == model.graph
    assert (NETS / "LICENSE").read_bytes() == script.package_file("LICENSE").read_bytes()


def face(x1: float, y1: float, x2: float, y2: float) -> Face:
    return Face(np.array([x1, y1, x2, y2], np.float32), np.zeros((5, 2), np.float32), 1.0)


def test_largest_central() -> None:
    shape = (200, 200, 3)
    small_central, large_central = face(80, 80, 120, 120), face(60, 60, 140, 140)
    large_far = face(0, 0, 82, 82)
    assert largest_central([large_far, small_central, large_central], shape) is large_central
    assert largest_central([large_far, small_central], shape) is small_central  # 6724 - 2*6962 < 1600
    with pytest.raises(FaceError, match="no face"):
        largest_central([], shape)


def test_bad_arguments_are_one_line() -> None:
    with pytest.raises(InputError, match="--min-face"):
        Detector(min_face=5)
    with pytest.raises(InputError, match="largest face to look for must be at least --min-face 40"):
        Detector(max_face=39)
    with pytest.raises(InputError, match="thresholds"):
        Detector(thresholds=(0.6, 0.7, 1.7))
    with pytest.raises(InputError, match="known are onnxruntime"):
        Detector(backend="caffe")
    with pytest.raises(InputError, match="--threads"):
        Detector(threads=-1)


def test_a_missing_backend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeface\[cpu\]'"):
        Detector()


def test_nothing_is_found_where_nothing_is(detector: Detector) -> None:
    for shape in ((240, 320, 3), (1, 1, 3), (20, 400, 3), (40, 40, 3)):
        assert detector.detect(np.full(shape, 128, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert detector.detect(noise) == []


def test_other_arrays_are_refused(detector: Detector) -> None:
    for bad in (
        np.zeros((2, 32_768, 3), np.uint8),
        np.zeros((50, 50), np.uint8),
        np.zeros((50, 50, 3), np.float32),
        np.zeros((50, 50, 4), np.uint8),
    ):
        with pytest.raises(ImageError):
            detector.detect(bad)
    closed = Detector()
    closed.close()
    with pytest.raises(InputError, match="closed"):
        closed.detect(np.zeros((50, 50, 3), np.uint8))


@pytest.mark.parametrize(
    "roi", [(0, 0, 51, 50), (0, 0, 50, 51), (-1, 0, 9, 9), (0, -1, 9, 9), (9, 0, 9, 9), (0, 9, 9, 8), (0, 0, 9)]
)
def test_a_region_outside_is_refused(detector: Detector, roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="region to search"):
        detector.detect(np.zeros((50, 50, 3), np.uint8), roi=roi)


def test_a_region_is_whole_pixels(detector: Detector) -> None:
    for roi in ((0.5, 0, 9, 9), "abcd", 7):
        with pytest.raises(InputError, match="four whole pixels"):
            detector.detect(np.zeros((50, 50, 3), np.uint8), roi=roi)  # type: ignore[arg-type]


def test_a_region_limits_the_search(detector: Detector) -> None:
    pictures = pytest.importorskip("skimage.data", reason="needs scikit-image: pip install 'edgeface[demo]'")
    image = np.tile(np.ascontiguousarray(pictures.astronaut()[..., ::-1]), (1, 2, 1))
    left, right = sorted(detector.detect(image), key=lambda face: float(face.box[0]))
    (found,) = detector.detect(image, roi=(512 + 100, 20, 512 + 350, 300))
    assert overlap(found.box[None], right.box[None])[0, 0] > 0.85
    assert np.linalg.norm(found.landmarks - right.landmarks, axis=1).max() < 4
    assert np.linalg.norm(found.landmarks - left.landmarks, axis=1).min() > 400
    cut = detector.detect(image[20:300, 612:862])[0]
    np.testing.assert_allclose(found.box, cut.box + np.array([612, 20, 612, 20]), atol=1e-3)
    np.testing.assert_allclose(found.landmarks, cut.landmarks + np.array([612, 20]), atol=1e-3)
    assert detector.detect(image, roi=(0, 250, 512, 512)) == []


def test_the_largest_face_limits_the_search() -> None:
    pictures = pytest.importorskip("skimage.data", reason="needs scikit-image: pip install 'edgeface[demo]'")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
    image = np.ascontiguousarray(pictures.astronaut()[..., ::-1])
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    for limit, count in ((40, 0), (400, 1)):
        with Detector(max_face=limit) as limited:
            assert len(limited.detect(large)) == count


def test_the_astronaut_is_found(detector: Detector) -> None:
    pictures = pytest.importorskip("skimage.data", reason="needs scikit-image: pip install 'edgeface[demo]'")
    faces = detector.detect(np.ascontiguousarray(pictures.astronaut()[..., ::-1]))
    assert len(faces) == 1
    by_eye = [(203, 101), (246, 104), (225, 126), (204, 140), (245, 140)]  # read off the picture
    assert np.linalg.norm(faces[0].landmarks - by_eye, axis=1).max() < 5


@pytest.mark.data
def test_faces_scale_and_move_with_the_picture(detector: Detector, data_dir: Path) -> None:
    image = read_image(sorted((data_dir / "photos" / "lfw").glob("*.jpg"))[0])
    found = detector.detect(image)[0]
    assert found.box.dtype == found.landmarks.dtype == np.float32
    assert found.box.shape == (4,) and found.landmarks.shape == (5, 2) and 0.7 < found.score <= 1
    eyes = float(np.linalg.norm(found.landmarks[1] - found.landmarks[0]))

    def error(other: np.ndarray, scale: float, shift: float) -> float:
        points = detector.detect(other)[0].landmarks
        return float(np.linalg.norm(points - (found.landmarks * scale + shift), axis=1).mean()) / scale / eyes

    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    assert error(large, 3, 0) < 0.08
    moved = cv2.copyMakeBorder(image, 37, 0, 37, 0, cv2.BORDER_REPLICATE)
    assert error(moved, 1, 37) < 0.08


@pytest.mark.data
def test_two_faces_and_the_larger_first(detector: Detector, data_dir: Path) -> None:
    first, second = (read_image(p) for p in sorted((data_dir / "photos" / "lfw").glob("*.jpg"))[:2])
    both = np.zeros((250, 430, 3), np.uint8)
    both[:, :250] = first
    both[50:230, 250:] = cv2.resize(second, (180, 180), interpolation=cv2.INTER_AREA)
    faces = detector.detect(both)
    assert len(faces) >= 2
    assert faces[0].box[2] < 250 and largest_central(faces, both.shape) is faces[0]


@pytest.mark.data
def test_threads_share_a_detector(detector: Detector, data_dir: Path) -> None:
    images = [read_image(path) for path in sorted((data_dir / "photos" / "lfw").glob("*.jpg"))[:8]]
    alone = [detector.detect(image)[0].landmarks for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: detector.detect(image)[0].landmarks, images))
    np.testing.assert_array_equal(alone, together)
