"""Alignment: the transform against known ones, the crop against crops others made."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE, align, arcface_template, similarity, template_for
from edgeface_runtime.errors import FaceError, ImageError, InputError
from edgeface_runtime.image import read_image


def test_similarity_recovers_a_known_transform() -> None:
    angle, scale, shift = 0.3, 1.7, np.array([12.0, -5.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity(TEMPLATE, TEMPLATE @ turn.T + shift)
    np.testing.assert_allclose(matrix, np.column_stack([turn, shift]), atol=1e-9)


def test_similarity_is_the_least_squares_solution() -> None:
    rng = np.random.default_rng(3)
    points = TEMPLATE * 2 + rng.normal(0, 4, TEMPLATE.shape)
    # The same problem written linearly: x' = a x - b y + c, y' = b x + a y + d.
    rows = [([x, -y, 1, 0], [y, x, 0, 1]) for x, y in points]
    a, b, c, d = np.linalg.lstsq(np.array(rows).reshape(-1, 4), TEMPLATE.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(points), [[a, -b, c], [b, a, d]], atol=1e-9)


def test_similarity_never_mirrors() -> None:
    assert np.linalg.det(similarity(TEMPLATE * [-1, 1])[:, :2]) > 0


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_points_without_a_transform_are_refused(points: np.ndarray) -> None:
    with pytest.raises(FaceError, match="coincide"):
        similarity(points)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(4, 2\)"):
        similarity(TEMPLATE[:4])
    with pytest.raises(ImageError, match="uint8"):
        align(np.zeros((112, 96), np.uint8), TEMPLATE)


def test_a_face_in_place_is_returned_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8)
    assert np.abs(align(image, TEMPLATE).astype(int) - image).max() <= 1
    assert align(image, TEMPLATE, (224, 192)).shape == (224, 192, 3)


def test_arcface_is_our_crop_with_eight_columns_more_on_either_side() -> None:
    """The numbers that ArcFace's authors publish for 112x112, and the pixels of our own crop in its middle."""
    published = [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
    np.testing.assert_allclose(template_for((112, 112)), published, atol=1e-4)
    np.testing.assert_allclose(arcface_template(224), np.array(published) * 2, atol=1e-4)
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (250, 250, 3), dtype=np.uint8), (9, 9), 3)
    points = TEMPLATE * 1.3 + (55, 40)
    wide = align(image, points, (112, 112))
    assert np.abs(wide[:, 8:104].astype(int) - align(image, points)).max() <= 1
    assert wide[:, :8].any(), "what is beside the face is the picture"


def test_other_sizes_stretch_our_template_and_a_given_one_goes_first() -> None:
    np.testing.assert_allclose(template_for((128, 96)), TEMPLATE * (1, 128 / 112))
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    own = np.array([(30, 30), (80, 30), (56, 60), (35, 90), (75, 90)], float)
    assert np.abs(align(image, own, (112, 112), own).astype(int) - image).max() <= 1


@pytest.mark.data
def test_crops_equal_those_of_the_data_set(data_dir: Path) -> None:
    """Same pictures, same points: what is left is JPEG's own noise."""
    points = json.loads((data_dir / "photos" / "landmarks.json").read_text())
    for name in list(points)[:20]:
        crop = align(read_image(data_dir / "photos" / "lfw" / name), points[name])
        coded = cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR)
        theirs = read_image(data_dir / "lfw" / "aligned" / name.rsplit("_", 1)[0] / name)
        assert np.abs(coded.astype(int) - theirs).mean() < 0.5
