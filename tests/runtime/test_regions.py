"""Regions and the more-than-half rule, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import InputError
from edgeface_runtime.regions import FACE_REGIONS, Region, covered_regions, face_regions, pixel_box


def test_a_pixel_belongs_where_its_coordinate_is_in_the_half_open_box() -> None:
    assert pixel_box((0.0, 32.0, 32.0, 64.0), (96, 96)) == (0, 32, 32, 64)
    assert pixel_box((1.2, 2.0, 3.0, 4.5), (10, 10)) == (2, 2, 3, 5), "pixel 2 in x; 2, 3, 4 in y"
    assert pixel_box((-5.0, -5.0, 200.0, 3.0), (10, 8)) == (0, 0, 8, 3)
    x1, y1, x2, y2 = pixel_box((20.0, 20.0, 30.0, 30.0), (10, 8))
    assert x1 == x2 and y1 == y2, "outside: empty"


def test_covered_is_more_than_half() -> None:
    """A region of 2x4 pixels: 4 of 8 is not covered, 5 is."""
    region = [Region("a", (1.0, 1.0, 5.0, 3.0))]
    mask = np.zeros((6, 6), bool)
    mask[1, 1:5] = True
    assert covered_regions(mask, region) == (False,)
    mask[2, 1] = True
    assert covered_regions(mask, region) == (True,)


def test_only_pixels_of_the_crop_count() -> None:
    """Half of the box lies outside; of the 2x2 pixels inside, three are covered."""
    mask = np.zeros((4, 4), bool)
    mask[0, :2] = mask[1, 0] = True
    regions = [Region("corner", (-2.0, -2.0, 2.0, 2.0)), Region("gone", (9.0, 9.0, 12.0, 12.0))]
    assert covered_regions(mask, regions) == (True, False)
    assert covered_regions(np.ones((4, 4), bool), regions) == (True, False), "no pixel: never covered"


def test_a_mask_must_be_bool() -> None:
    with pytest.raises(InputError, match=r"\(height, width\) bool, got \(4, 4\) uint8"):
        covered_regions(np.zeros((4, 4), np.uint8), [])  # type: ignore[arg-type]


POINTS = np.array([(30.0, 50.0), (70.0, 50.0), (50.0, 70.0), (35.0, 90.0), (65.0, 90.0)])
"""Eye distance 40, eyes to mouth 40 (.866 of it is less), middle at 50."""


def test_regions_of_a_face_by_hand() -> None:
    found = face_regions(POINTS, (1.0, 1.0))
    assert tuple(region.name for region in found) == FACE_REGIONS
    boxes = {region.name: region.box for region in found}
    assert boxes["forehead"] == pytest.approx((6, 2, 94, 36))
    assert boxes["left_eye"] == pytest.approx((6, 36, 50, 60))
    assert boxes["right_eye"] == pytest.approx((50, 36, 94, 60))
    assert boxes["nose"] == pytest.approx((6, 60, 94, 80))
    assert boxes["mouth"] == pytest.approx((6, 80, 94, 100))
    assert boxes["chin"] == pytest.approx((6, 100, 94, 124))


def test_regions_follow_the_face() -> None:
    """Half as large and moved: the boxes go along."""
    here, there = face_regions(POINTS, (1.0, 1.0)), face_regions(0.5 * POINTS + (7, -3), (1.0, 1.0))
    for a, b in zip(here, there, strict=True):
        assert b.box == pytest.approx(0.5 * np.array(a.box) + (7, -3, 7, -3))


def test_a_head_turned_aside_keeps_its_size() -> None:
    """Eyes 20 px apart but 40 px above the mouth: sized by .866 x 40, not by 20."""
    turned = POINTS.copy()
    turned[:2, 0] = (40, 60)
    x1, _, x2, _ = face_regions(turned, (1.0, 1.0))[0].box
    assert x2 - x1 == pytest.approx(2.2 * 0.866 * 40)


def test_a_tilted_head_has_each_eye_at_its_own_height() -> None:
    tilted = POINTS.copy()
    tilted[0, 1], tilted[1, 1] = 45, 55
    boxes = {region.name: region.box for region in face_regions(tilted, (1.0, 1.0))}
    assert boxes["right_eye"][1] - boxes["left_eye"][1] == pytest.approx(10)


def test_a_region_is_at_least_a_cell() -> None:
    for region in face_regions(TEMPLATE, (30.0, 50.0)):
        x1, y1, x2, y2 = region.box
        assert x2 - x1 >= 50 - 1e-9 and y2 - y1 >= 30 - 1e-9


def test_bad_landmarks_are_refused() -> None:
    with pytest.raises(InputError, match="five finite points"):
        face_regions(POINTS[:4], (16, 16))
    with pytest.raises(InputError, match="coincide"):
        face_regions(np.full((5, 2), 3.0), (16, 16))
