"""Following a face by optical flow: as far as it moved, and never onto another face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime.detect import Detector
from edgeface_runtime.image import list_images, read_image
from edgeface_runtime.stream.flow import follow, moved, to_gray

Scene = Callable[..., np.ndarray]
BOX = np.array([100, 60, 196, 172], np.float32)
CORNERS = np.array([[100, 60], [196, 60], [196, 172], [100, 172]], np.float32)


@pytest.mark.parametrize(
    ("angle", "scale", "shift"),
    [(0, 1, (0, 0)), (0, 1, (14, -9)), (4, 1, (5, 5)), (-6, 1.08, (0, 3)), (0, 0.93, (6, 0))],
)
def test_it_finds_the_transform(scene: Scene, angle: float, scale: float, shift: tuple[int, int]) -> None:
    before = to_gray(scene((1, 100, 60)))
    wanted = cv2.getRotationMatrix2D((148, 116), angle, scale)
    wanted[:, 2] += shift
    found = follow(before, cv2.warpAffine(before, wanted, before.shape[::-1]), BOX)
    assert found is not None
    np.testing.assert_allclose(moved(CORNERS, found), moved(CORNERS, wanted), atol=1.5)


def test_large_faces_are_followed_as_well(scene: Scene) -> None:
    """Points of a face of 400 pixels are followed in a smaller picture: the transform is in the picture's pixels."""
    before = cv2.resize(to_gray(scene((1, 100, 60))), None, fx=4, fy=4)
    wanted = np.array([[1, 0, 30], [0, 1, -22]], float)
    found = follow(before, cv2.warpAffine(before, wanted, before.shape[::-1]), BOX * 4)
    assert found is not None
    np.testing.assert_allclose(moved(CORNERS * 4, found), moved(CORNERS * 4, wanted), atol=3)


def test_what_is_not_there_any_more_is_lost(scene: Scene) -> None:
    before = to_gray(scene((1, 100, 60)))
    for after in (scene(), scene((2, 100, 60)), np.full((240, 320, 3), 128, np.uint8)):
        assert follow(before, to_gray(after), BOX) is None


def test_a_box_beyond_the_picture_is_lost(scene: Scene) -> None:
    gray = to_gray(scene((1, 100, 60)))
    assert follow(gray, gray, BOX + 400) is None
    assert follow(gray, gray, np.array([-90, -100, 10, 5], np.float32)) is None


@pytest.mark.data
def test_no_portrait_is_followed_onto_another(data_dir: Path) -> None:
    """Faces lie at the same place in these photographs: place alone would hand a track from one to the next."""
    images = [read_image(path) for path in list_images(data_dir / "photos" / "lfw")[:40]]
    grays = [to_gray(image) for image in images]
    with Detector() as detector:
        boxes = [faces[0].box for image in images if (faces := detector.detect(image))]
    assert len(boxes) >= 35
    for box, before, after in zip(boxes, grays, grays[1:], strict=False):
        assert follow(before, after, box) is None
        assert follow(before, np.roll(before, 3, axis=1), box) is not None
