"""IoU and pixel accuracy, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeface_calibration.segment_metrics import Tally, iou, pixel_accuracy
from edgeface_runtime.errors import InputError


def mask(*rows: str) -> NDArray[np.bool_]:
    return np.array([[letter == "#" for letter in row] for row in rows])


TRUTH = mask("##..", "##..", "....")
FOUND = mask(".##.", ".##.", "....")
EMPTY = np.zeros((3, 4), bool)


def test_by_hand() -> None:
    """2 pixels in both, 6 in either; 2 missed and 2 too many of 12."""
    assert iou(FOUND, TRUTH) == pytest.approx(2 / 6)
    assert pixel_accuracy(FOUND, TRUTH) == pytest.approx(8 / 12)
    assert iou(TRUTH, TRUTH) == 1.0 and pixel_accuracy(TRUTH, TRUTH) == 1.0
    assert iou(~TRUTH, TRUTH) == 0.0 and pixel_accuracy(~TRUTH, TRUTH) == 0.0


def test_nothing_covered_and_nothing_found_is_right() -> None:
    assert iou(EMPTY, EMPTY) == 1.0
    assert iou(FOUND, EMPTY) == 0.0
    assert iou(EMPTY, TRUTH) == 0.0


def test_pooled_and_mean() -> None:
    """Pictures: 2 of 6, 4 of 4, empty twice: pooled 6 of 10; mean (1/3 + 1 + 1) / 3."""
    tally = Tally()
    tally.add(np.stack([FOUND, TRUTH]), np.stack([TRUTH, TRUTH]))
    tally.add(EMPTY[None], EMPTY[None])
    scores = tally.scores()
    assert scores.iou == pytest.approx(6 / 10)
    assert scores.iou_mean == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert scores.pixel_accuracy == pytest.approx((8 + 12 + 12) / 36)
    assert scores.covered_share == pytest.approx(8 / 36)
    assert scores.false_share == pytest.approx(2 / 28)
    assert scores.pictures == 3
    assert tally.per_picture[:, 0] == pytest.approx([1 / 3, 1, 1])
    assert tally.per_picture[:, 1] == pytest.approx([8 / 12, 1, 1])


def test_all_empty_and_all_covered() -> None:
    tally = Tally()
    tally.add(EMPTY[None], EMPTY[None])
    assert (tally.scores().iou, tally.scores().false_share) == (1.0, 0.0)
    tally = Tally()
    tally.add(EMPTY[None], ~EMPTY[None])
    assert (tally.scores().iou, tally.scores().false_share) == (0.0, 0.0)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="no pictures"):
        Tally().scores()
    with pytest.raises(InputError, match="one shape"):
        iou(EMPTY, EMPTY[:2])
    with pytest.raises(InputError, match="bool"):
        iou(EMPTY.astype(np.uint8), EMPTY)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="without pixels"):
        iou(EMPTY[:0], EMPTY[:0])
