"""A picture of a mask dictionary: each region on a mean face, and where the features lie that it discards."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.dictionary.layouts import WITHOUT_LANDMARKS
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.errors import MissingExtraError
from edgeface_runtime.files import atomic_path

__all__ = ["discarded_share", "plot_dictionary"]

MOST_COLUMNS = 5


def discarded_share(dictionary: MaskDictionary) -> NDArray[np.float64]:
    """(regions, h, w): the share of each cell's channels that a region discards, in [0, 1]."""
    return np.asarray(1 - dictionary.masks.mean(axis=1), np.float64)


def plot_dictionary(dictionary: MaskDictionary, crops: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG: a mean face per region, its box, and the discarded share of every feature cell.

    Args:
        crops: (N, H, W, 3) uint8 BGR, N >= 1, of the dictionary's input size.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError as exc:
        raise MissingExtraError("matplotlib", "plot") from exc
    height, width = dictionary.input_size
    mean = np.asarray(crops[:1000].mean(0)).round().astype(np.uint8)
    grey = np.asarray(cv2.cvtColor(mean, cv2.COLOR_BGR2GRAY))
    share = discarded_share(dictionary)
    rows = _rows(dictionary) if dictionary.kind in WITHOUT_LANDMARKS else -(-len(share) // MOST_COLUMNS)
    columns = -(-len(share) // rows)
    figure = Figure(figsize=(1.9 * columns + 1.2, 2.6 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    frame = (-0.5, width - 0.5, height - 0.5, -0.5)
    top = float(share.max()) or 1.0
    shown = None
    for number, axis in enumerate(axes.flat):
        axis.axis("off")
        if number >= len(share):
            continue
        region = dictionary.regions[number]
        axis.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=frame)
        seen = 0.15 + 0.7 * share[number] / top
        shown = axis.imshow(
            share[number], cmap="magma", vmin=0, vmax=top, alpha=seen, extent=frame, interpolation="nearest"
        )
        x1, y1, x2, y2 = region.box
        axis.add_patch(
            Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor="#30d0ff", linewidth=2)
        )
        axis.set_xlim(-1.5, width + 0.5)
        axis.set_ylim(height + 0.5, -1.5)
        axis.set_title(f"{region.name.replace('_', ' ')}\n{_inside(dictionary, number, share[number])}", fontsize=9)
    if shown is not None:
        figure.colorbar(shown, ax=axes, label="share of the cell's features discarded", shrink=0.8)
    words = f"{dictionary.kind}: where the {share.mean():.0%} of features lie that a covered region discards"
    figure.suptitle(words, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _rows(dictionary: MaskDictionary) -> int:
    """How many rows of regions, one below the other."""
    return len({region.box[1] for region in dictionary.regions})


def _inside(dictionary: MaskDictionary, number: int, share: NDArray[np.float64]) -> str:
    """How much of what a region discards lies in cells whose middle is in it."""
    rows, columns = np.indices(share.shape)
    y = (rows + 0.5) * dictionary.cell[0]
    x = (columns + 0.5) * dictionary.cell[1]
    x1, y1, x2, y2 = dictionary.regions[number].box
    within = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
    total = float(share.sum())
    return f"{float(share[within].sum()) / total if total else 0:.0%} of it inside"
