"""Which part of a face is covered, in words, from the probabilities of FROM's occlusion patterns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.patterns import PATTERN_GRIDS, pattern_cells, pattern_count, pattern_words

__all__ = ["covered_part"]


def covered_part(probabilities: npt.ArrayLike) -> str:
    """The likeliest pattern in words, such as `rows 4-5, columns 1-5: mouth and chin`; `nothing` if none is covered.

    Args:
        probabilities: (classes,) float, one for each pattern of a KxK grid; rows and columns are counted from 1.

    Raises:
        ArtefactError: no grid has that many patterns.
    """
    values = np.asarray(probabilities)
    grids = [grid for grid in PATTERN_GRIDS if values.shape == (pattern_count(grid),)]
    if not grids:
        raise ArtefactError(f"the model gives {values.shape} occlusion patterns, which fit no grid: export it again")
    index = int(values.argmax())
    words = pattern_words(index, grids[0])
    if index == 0:
        return words
    left, top, right, bottom = (int(cell) for cell in pattern_cells(grids[0])[index])
    return f"{_span('row', top, bottom)}, {_span('column', left, right)}: {words}"


def _span(word: str, start: int, end: int) -> str:
    return f"{word} {end}" if end - start == 1 else f"{word}s {start + 1}-{end}"
