"""Labels of covered pixels: by difference, by hand; and against the occluder's own mask where that must agree."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeface_calibration.occluders import occlude
from edgeface_calibration.segment_labels import difference_label, exact_label
from edgeface_calibration.segment_metrics import iou
from edgeface_runtime.errors import InputError


def grey(height: int = 20, width: int = 20) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 100, np.uint8)


def test_any_channel_above_the_threshold_counts() -> None:
    """One channel differs by 25 (not above), another by 26, in two 6x6 squares."""
    clean, other = grey(), grey()
    other[2:8, 2:8, 0] = 125
    other[10:16, 10:16, 2] = 74
    expected = np.zeros((20, 20), bool)
    expected[10:16, 10:16] = True
    assert np.array_equal(difference_label(clean, other, 25), expected)


def test_lone_pixels_go_and_holes_are_filled() -> None:
    clean, other = grey(), grey()
    other[0:2, 0:2] = 200  # smaller than the 3x3 element, though it lies at the border
    other[9, 3] = 200
    other[6:16, 6:16] = 200
    other[10:12, 10:12] = 100  # a hole of 2x2 in the occluder
    expected = np.zeros((20, 20), bool)
    expected[6:16, 6:16] = True
    label = difference_label(clean, other)
    assert np.array_equal(label[2:], expected[2:])
    assert not difference_label(clean, other, closing_px=1)[10:12, 10:12].any()
    assert difference_label(clean, other, opening_px=1)[9, 3]


def test_an_occluder_at_the_border_keeps_its_edge() -> None:
    """At the border it is not eaten; a gap of one pixel to the border is no hole."""
    clean, other = grey(), grey()
    other[:, :7] = 200
    other[:12, 12:19] = 200
    expected = np.zeros((20, 20), bool)
    expected[:, :7] = True
    expected[:12, 12:19] = True
    assert np.array_equal(difference_label(clean, other), expected)


def test_a_picture_against_itself_is_clear() -> None:
    assert not difference_label(grey(), grey()).any()


def test_both_labels_agree_on_opaque_occluders() -> None:
    """A block is pasted opaque, without light or shadow: only its smoothed edge, one pixel wide, may differ."""
    rng = np.random.default_rng(0)
    clean = np.repeat(rng.integers(90, 130, (112, 96, 1), dtype=np.uint8), 3, 2)
    compared = 0
    for seed in range(20):
        covered = occlude(clean, "block", np.random.default_rng(seed), share=0.2)
        inside = np.abs(covered.image.astype(int) - clean)[covered.mask].max(1)
        if np.quantile(inside, 0.05) <= 25:  # its colour is near the face's
            continue
        compared += 1
        exact, found = exact_label(covered), difference_label(clean, covered.image)
        assert iou(found, exact) > 0.9, seed
        square = np.ones((3, 3), np.uint8)
        edge = cv2.dilate(exact.astype(np.uint8), square) != cv2.erode(exact.astype(np.uint8), square)
        assert not ((found ^ exact) & ~edge).any(), seed
    assert compared >= 8


def test_a_shadow_counts_in_one_label_only() -> None:
    """Drawn with a shadow: nearly all of the occluder is found, and some of the face beside it is called so."""
    clean = np.full((112, 96, 3), 200, np.uint8)
    found, false = [], []
    for seed in range(8):
        covered = occlude(clean, "phone", np.random.default_rng(seed), share=0.2)
        label = difference_label(clean, covered.image)
        found.append(float(label[covered.mask].mean()))
        false.append(float(label[~covered.mask].mean()))
    assert np.mean(found) > 0.85
    assert 0 < np.mean(false) < 0.2


@pytest.mark.parametrize(
    ("other", "options", "words"),
    [
        (grey(16, 20), {}, "not one face"),
        (grey().astype(np.float32), {}, "uint8"),
        (grey(), {"threshold": 255}, "threshold"),
        (grey(), {"opening_px": 4}, "odd"),
    ],
)
def test_bad_input(other: NDArray[np.uint8], options: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        difference_label(grey(), other, **options)
