"""The box arithmetic of the MTCNN cascade, on arrays only (Zhang et al. 2016, arXiv 1604.02878).

Boxes are (N, 4) float32 x1, y1, x2, y2 in pixels, measured between pixel *edges*: the whole of a W x H picture is
(0, 0, W, H). The original counts inclusive pixels from 1 and rounds between stages; edges need neither.
"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CELL", "STRIDE", "grid_boxes", "grid_peaks", "nms", "overlap", "pyramid_scales", "regress", "square"]

STRIDE = 2
"""P-Net's step, pixels of its input."""

CELL = 12
"""The side of P-Net's window, pixels of its input."""

BLOCK = 192
"""Boxes compared at once in `nms`: as many as caches hold; changes no result."""

NEIGHBOURS = np.ones((3, 3), dtype=np.uint8)

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


def pyramid_scales(
    height: int, width: int, min_face: float, factor: float, max_face: float = math.inf
) -> list[float]:
    """Scales at which a face of `min_face` pixels and every larger one up to `max_face` comes to P-Net's window."""
    scales, scale = [], CELL / min_face
    while min(height, width) * scale >= CELL and scale * max_face >= CELL:
        scales.append(scale)
        scale *= factor
    return scales


def grid_peaks(scores: Floats, threshold: float) -> NDArray[np.bool_]:
    """Greedy non-maximum suppression at IoU .5 on P-Net's own grid.

    Two windows of `grid_boxes` overlap by more than .5 exactly where their cells touch: one cell apart on both axes
    gives 81/161, two apart on one axis 77/165. So suppression is: take the cells that are the largest of their
    3x3 neighbourhood, strike their neighbours out, repeat.

    Args:
        scores: (H, W) float32; -inf where there is no cell.
        threshold: cells below it are no candidates.

    Returns:
        (H, W) bool, True for the kept cells.
    """
    closed = np.float32(-np.inf)
    kept = np.zeros(scores.shape, dtype=bool)
    open_scores = np.where(scores >= threshold, scores, closed)
    while open_scores.max(initial=closed) > closed:
        peaks = (open_scores >= cv2.dilate(open_scores, NEIGHBOURS)) & (open_scores > closed)
        kept |= peaks
        open_scores[cv2.dilate(peaks.view(np.uint8), NEIGHBOURS) > 0] = closed
    return kept


def grid_boxes(rows: Indices, columns: Indices, stretch: NDArray[np.float64]) -> Floats:
    """(N, 4) windows of P-Net's cells, in pixels of the picture.

    The original counts pixels from 1 *before* it scales, which takes one input pixel off each window's left and top;
    that is kept, without its rounding, so that the later networks see the windows they see elsewhere.

    Args:
        rows: (N,) rows of P-Net's output.
        columns: (N,) columns of P-Net's output.
        stretch: (2,) or (N, 2), x and y: pixels of the picture per pixel of P-Net's input.
    """
    corner = np.stack([columns, rows], axis=1) * STRIDE
    boxes = np.concatenate([(corner + 1) * stretch - 1, (corner + CELL) * stretch], axis=1)
    return boxes.astype(np.float32)


def regress(boxes: Floats, offsets: Floats) -> Floats:
    """Move each side by its offset, given as a share of the box's width (x1, x2) or height (y1, y2)."""
    size = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(boxes + offsets * np.concatenate([size, size], axis=1), dtype=np.float32)


def square(boxes: Floats) -> Floats:
    """Grow the shorter side of each box about its centre until the box is square."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def overlap(a: Floats, b: Floats, over: Literal["union", "smaller"] = "union") -> Floats:
    """(A, B) intersections of (A, 4) with (B, 4) boxes, as a share of their union or of the smaller box."""
    left, top, right, bottom = a.T[:, :, None]
    other = b.T[:, None, :]
    width = np.minimum(right, other[2]) - np.maximum(left, other[0])
    height = np.minimum(bottom, other[3]) - np.maximum(top, other[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)  # an axis at a time: a short last axis is slow in numpy
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    if over == "union":
        whole = area_a[:, None] + area_b[None, :] - shared
    else:
        whole = np.minimum(area_a[:, None], area_b[None, :])
    return np.asarray(shared / np.maximum(whole, 1e-9), dtype=np.float32)


def nms(boxes: Floats, scores: Floats, threshold: float, over: Literal["union", "smaller"] = "union") -> Indices:
    """Greedy non-maximum suppression: a box goes when it overlaps a better, kept one by more than `threshold`.

    Returns:
        Indices of the kept boxes, best score first (of equal scores, the earlier box).
    """
    order = np.argsort(-scores, kind="stable")
    kept = order[:0]
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        if len(kept):
            block = block[~(overlap(boxes[kept], boxes[block], over) > threshold).any(axis=0)]
        beats = np.triu(overlap(boxes[block], boxes[block], over) > threshold, k=1)
        # Box i is settled once all better boxes are: repeating the rule ends at the greedy answer.
        alive, settled = np.zeros(len(block), dtype=bool), np.ones(len(block), dtype=bool)
        while not np.array_equal(alive, settled):
            alive, settled = settled, ~np.any(beats[settled], axis=0)
        kept = np.concatenate([kept, block[alive]])
    return kept
