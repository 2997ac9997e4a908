"""Quality measured on pictures whose faults are known."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from math import cos, radians, sin
from typing import Any

import cv2
import numpy as np
import pytest

from edgeface_runtime.align import CROP_SIZE, TEMPLATE, align
from edgeface_runtime.detect import Face
from edgeface_runtime.pose import SHAPE
from edgeface_runtime.quality import LIMITS, Limits, Quality, limits_of, measure_quality
from edgeface_runtime.sharpness import MOST_BLUR_PX, blur_width


def drawn_face(scale: int = 4) -> np.ndarray:
    """A sharp face of shapes, `scale` times the size of a crop, (H, W, 3) uint8 BGR."""
    height, width = CROP_SIZE[0] * scale, CROP_SIZE[1] * scale
    image = np.full((height, width, 3), 60, np.uint8)

    def place(point: tuple[float, float]) -> tuple[int, int]:
        return int(point[0] * scale), int(point[1] * scale)

    cv2.ellipse(image, place((48, 62)), place((40, 52)), 0, 0, 360, (150, 170, 210), -1)
    for eye in TEMPLATE[:2]:
        cv2.circle(image, place(tuple(eye)), 6 * scale, (240, 240, 240), -1)
        cv2.circle(image, place(tuple(eye)), 3 * scale, (20, 20, 20), -1)
    cv2.line(image, place((48, 55)), place(tuple(TEMPLATE[2])), (90, 110, 150), 2 * scale)
    cv2.line(image, place(tuple(TEMPLATE[3])), place(tuple(TEMPLATE[4])), (40, 40, 140), 3 * scale)
    return image


def look(image: np.ndarray, scale: float = 4, points: np.ndarray = TEMPLATE, **more: Any) -> Quality:
    box = np.array([8 * scale, 10 * scale, 88 * scale, 110 * scale], np.float32)
    return measure_quality(image, Face(box, (np.asarray(points) * scale).astype(np.float32), 0.999), **more)


def test_a_good_face_has_no_reasons() -> None:
    found = look(drawn_face())
    assert found.reasons == () and not found.poor
    assert found.eyes_px == pytest.approx(4 * 35.24, abs=0.1) and found.box_px == pytest.approx(320)
    assert found.outside_share == 0 and found.covered_share is None
    assert json.loads(json.dumps(found.to_dict()))["poor"] is False


def test_blur_is_what_was_put_in() -> None:
    """Known kernels, in pixels of the crop: monotone, and near the width where it outweighs what was there."""
    sharp = drawn_face()
    widths = [look(cv2.GaussianBlur(sharp, (0, 0), 4 * sigma) if sigma else sharp).blur_px for sigma in range(6)]
    assert all(a < b for a, b in pairwise(widths))
    for sigma in (2, 3):
        assert widths[sigma] == pytest.approx(sigma, rel=0.25)


def test_blur_does_not_depend_on_exposure_or_size() -> None:
    for sigma in (0.5, 1.0, 2.0):
        found = [
            look(change(cv2.GaussianBlur(drawn_face(scale), (0, 0), scale * sigma)), scale).blur_px
            for scale in (4, 6)
            for change in (
                lambda i: i,
                lambda i: (i * 0.4).astype(np.uint8),
                lambda i: (i * 0.3 + 150).astype(np.uint8),
            )
        ]
        assert max(found) / min(found) < 1.1


def test_nothing_to_see_is_blurred_as_far_as_it_goes() -> None:
    assert blur_width(np.full((80, 70), 90, np.float32)) == MOST_BLUR_PX


def test_a_small_face_is_small_and_nothing_else() -> None:
    small = cv2.resize(drawn_face(), None, fx=0.06, fy=0.06, interpolation=cv2.INTER_AREA)
    found = look(small, 0.24, limits=replace(LIMITS, blur_px=2.0))
    assert found.eyes_px == pytest.approx(0.24 * 35.24, abs=0.05) and found.blur_px > 2
    assert found.reasons == ("too small (eyes 8 pixels apart, 12 needed)",)


def test_size_is_as_seen_from_the_front() -> None:
    """A face turned aside has its eyes nearer to each other, but is no smaller."""
    narrow = (TEMPLATE - TEMPLATE.mean(0)) * (0.7, 1) + TEMPLATE.mean(0)
    eyes = narrow[1, 0] - narrow[0, 0]
    assert look(drawn_face(), points=narrow).eyes_px > 1.2 * 4 * eyes


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda i: (i * 0.1).astype(np.uint8), "too dark"),
        (lambda i: np.clip(i * 1.0 + 140, 0, 255).astype(np.uint8), "too light"),
        (lambda i: (110 + i * 0.1).astype(np.uint8), "without contrast"),
        (lambda i: cv2.GaussianBlur(i, (0, 0), 16), "blurred"),
    ],
)
def test_faults_are_named(change: object, word: str) -> None:
    reasons = look(change(drawn_face())).reasons  # type: ignore[operator]
    assert any(reason.startswith(word) for reason in reasons), reasons


def test_brightness_and_contrast_by_hand() -> None:
    image = np.zeros((112, 96, 3), np.uint8)
    image[:, 48:] = 200
    found = look(image, 1)
    assert found.brightness == pytest.approx(100 / 255, abs=0.01) and found.contrast == pytest.approx(
        200 / 255, abs=0.01
    )


def test_what_the_border_cuts_off() -> None:
    image = drawn_face()
    moved = TEMPLATE - (96 / 4, 0)
    found = look(np.ascontiguousarray(image[:, 96:]), points=moved)  # a quarter of the crop's columns is gone
    assert found.outside_share == pytest.approx(0.25, abs=0.015)
    assert found.reasons == ("cut off (25% is missing)",)


def test_a_covered_face_is_named_where_the_share_is_known() -> None:
    assert look(drawn_face(), covered_share=0.5).reasons == ("covered (50%)",)
    assert look(drawn_face(), covered_share=0.1).reasons == ()
    assert measure_quality(
        drawn_face(),
        Face(np.zeros(4, np.float32), (TEMPLATE * 4).astype(np.float32), 0.5),
        0.5,
        replace(LIMITS, covered_share=0.6),
    ).reasons == ("hardly a face (detected at 0.50)",)


def test_turned_away() -> None:
    aside = SHAPE[:, 0] * cos(radians(55)) - SHAPE[:, 2] * sin(radians(55))
    points = np.stack([aside, SHAPE[:, 1]], 1) * 35 + (48, 72)
    found = look(drawn_face(), points=points)
    assert found.yaw_deg == pytest.approx(55, abs=0.5) and found.reasons[0] == "turned away (55 degrees)"


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="brightness limits must rise"):
        Limits(brightness=(0.8, 0.2))


def test_an_uncalibrated_share_calls_nobody_covered() -> None:
    from edgeface_runtime.manifest import Manifest

    facts: dict[str, Any] = {"name": "m", "created": "", "models": {"fp32": "r.onnx"}, "template": ()}
    plain = Manifest(**facts)
    assert limits_of(plain).covered_share == 1
    decision = {"covered_above": 0.31, "fmr": {}, "fpir": {}}
    told = Manifest(**facts, extra={"decision": decision})
    assert limits_of(told) == replace(LIMITS, covered_share=0.31)


def test_a_crop_that_is_there_already_gives_the_same() -> None:
    image = drawn_face()
    crop = align(image, TEMPLATE * 4)
    assert look(image, crop=crop) == look(image)
    assert look(image, crop=np.zeros_like(crop)).brightness == 0, "it is the crop that is looked at"
