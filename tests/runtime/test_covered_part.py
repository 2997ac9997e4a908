"""The covered part in words: rows and columns counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_runtime.covered_part import covered_part
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.patterns import pattern_cells, pattern_count


def certain(grid: int, cells: tuple[int, int, int, int]) -> np.ndarray:
    """All probability on the pattern of these cells (left, top, right, bottom)."""
    index = int(np.flatnonzero((pattern_cells(grid) == cells).all(axis=1))[0])
    return np.eye(pattern_count(grid), dtype=np.float32)[index]


@pytest.mark.parametrize(
    ("grid", "cells", "start"),
    [
        (5, (0, 2, 5, 5), "rows 3-5, columns 1-5: "),
        (4, (1, 3, 2, 4), "row 4, column 2: "),
        (3, (0, 0, 3, 1), "row 1, columns 1-3: "),
    ],
)
def test_rows_and_columns_count_from_one(grid: int, cells: tuple[int, int, int, int], start: str) -> None:
    words = covered_part(certain(grid, cells))
    assert words.startswith(start) and len(words) > len(start)


def test_pattern_zero_is_nothing() -> None:
    assert covered_part(np.eye(226)[0]) == "nothing"


def test_a_count_that_fits_no_grid_is_refused() -> None:
    with pytest.raises(ArtefactError, match="fit no grid"):
        covered_part(np.ones(50))
