"""FROM's occlusion patterns: counts, order, boxes, words and labels worked out by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edgeface_calibration.patterns import (
    pattern_boxes,
    pattern_cells,
    pattern_count,
    pattern_label,
    pattern_overlaps,
    pattern_words,
)
from edgeface_runtime.errors import InputError


def index_of(cells: tuple[int, int, int, int], grid: int) -> int:
    return pattern_cells(grid).tolist().index(list(cells))


def test_counts_are_the_papers() -> None:
    for grid, classes in ((3, 37), (4, 101), (5, 226)):
        assert pattern_count(grid) == classes
        cells = pattern_cells(grid)
        assert cells.shape == (classes, 4) and len({tuple(row) for row in cells.tolist()}) == classes
        assert cells[0].tolist() == [0, 0, 0, 0]
        assert cells[1].tolist() == [0, 0, 1, 1] and cells[-1].tolist() == [0, 0, grid, grid]
    # K = 3: 9 single cells, then 6 two wide, 3 three wide, then two high: 6, 4, 2, then three high: 3, 2, 1.
    assert index_of((0, 0, 2, 1), 3) == 10 and index_of((0, 0, 3, 1), 3) == 16 and index_of((0, 0, 1, 2), 3) == 19


def test_boxes_are_whole_pixels() -> None:
    """112 / 3 = 37.33, 74.67; 96 / 3 = 32; 96 / 5 = 19.2, 38.4, 57.6, 76.8; 112 / 5 = 22.4, 44.8, 67.2, 89.6."""
    boxes = pattern_boxes(3)
    assert boxes[0].tolist() == [0, 0, 0, 0] and boxes[-1].tolist() == [0, 0, 96, 112]
    assert boxes[5].tolist() == [32, 37, 64, 75], "the middle cell"
    assert pattern_boxes(5)[index_of((1, 3, 4, 5), 5)].tolist() == [19, 67, 77, 112]
    assert pattern_boxes(4, (128, 96))[index_of((0, 2, 4, 4), 4)].tolist() == [0, 64, 96, 128]


@pytest.mark.parametrize("grid", [3, 4, 5])
@pytest.mark.parametrize("size", [(112, 96), (128, 96), (7, 11)])
def test_a_rectangle_is_its_own_label(grid: int, size: tuple[int, int]) -> None:
    for index, (x1, y1, x2, y2) in enumerate(pattern_boxes(grid, size)):
        mask = np.zeros(size, bool)
        mask[y1:y2, x1:x2] = True
        assert pattern_label(mask, grid) == index


def test_labels_by_hand() -> None:
    """A 4x4 grid on 8x8 pixels: cells of 2x2."""
    mask = np.zeros((8, 8), bool)
    assert pattern_label(mask, 4) == 0
    mask[0, 0] = True  # one pixel of the first cell: IoU 1/4 there
    assert pattern_label(mask, 4) == index_of((0, 0, 1, 1), 4)
    assert pattern_overlaps(mask, 4)[1] == 0.25
    mask[:] = False
    mask[2:5, 0:2] = True  # cell (0, 1) whole, half of (0, 2): alone 4/6, both 6/8
    assert pattern_label(mask, 4) == index_of((0, 1, 1, 3), 4)
    assert pattern_overlaps(mask, 4)[index_of((0, 1, 1, 2), 4)] == pytest.approx(4 / 6)
    mask[4] = False
    mask[4, 0] = True  # 5 pixels: cell alone 4/5, both 5/8
    assert pattern_label(mask, 4) == index_of((0, 1, 1, 2), 4)
    mask[:] = False
    mask[0, 0] = mask[7, 7] = True  # both corners alike, 1/5: the lower index
    assert pattern_label(mask, 4) == 1


def test_labels_equal_brute_force() -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        size = (int(rng.integers(8, 40)), int(rng.integers(8, 40)))
        mask = rng.random(size) < rng.random()
        if rng.random() < 0.5:
            mask[: size[0] // 2] = False
        grid = int(rng.integers(3, 6))
        found = []
        for x1, y1, x2, y2 in pattern_boxes(grid, size):
            other = np.zeros(size, bool)
            other[y1:y2, x1:x2] = True
            found.append((mask & other).sum() / max(1, (mask | other).sum()))
        assert pattern_overlaps(mask, grid).tolist() == found
        assert pattern_label(mask, grid) == (int(np.argmax(found)) if mask.any() else 0)


def test_words_name_what_is_covered() -> None:
    assert pattern_words(0, 4) == "nothing"
    assert pattern_words(100, 4) == "the whole face"
    assert pattern_words(index_of((0, 2, 4, 4), 4), 4) == "nose, cheeks, mouth and chin"
    assert pattern_words(index_of((0, 1, 4, 2), 4), 4) == "eyes"
    assert pattern_words(index_of((0, 0, 2, 2), 4), 4) == "left eye"
    assert pattern_words(index_of((2, 1, 4, 2), 4), 4) == "right eye"
    assert pattern_words(index_of((0, 1, 5, 2), 5), 5) == "brows"
    assert pattern_words(index_of((0, 4, 1, 5), 5), 5) == "lower left edge"
    for grid in (3, 4, 5):
        assert all(pattern_words(index, grid) for index in range(pattern_count(grid)))


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="--patterns must be one of 3, 4, 5, got 6"):
        pattern_boxes(6)
    with pytest.raises(InputError, match="between 0 and 36"):
        pattern_words(37, 3)
    with pytest.raises(InputError, match="at least 5 pixels"):
        pattern_label(np.zeros((4, 9), bool), 5)


def test_fast_enough_for_training() -> None:
    mask = np.zeros((112, 96), bool)
    mask[40:90, 20:80] = True
    pattern_label(mask, 5)
    begun = time.perf_counter()
    for _ in range(200):
        pattern_label(mask, 5)
    assert (time.perf_counter() - begun) / 200 < 2e-3, "an occluder takes about as long to draw"
