"""Covered pixels of face crops, a batch at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edgeface.models.segmenter import Segmenter
from edgeface.training.step import to_input
from edgeface_runtime.errors import InputError

__all__ = ["BATCH", "predict"]

BATCH = 32


@torch.no_grad()
def predict(model: Segmenter, crops: NDArray[np.uint8], batch: int = BATCH) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 BGR -> (N, H, W) float32, the probability that a pixel is covered.

    Computed on the model's own device in float32 and evaluation mode; the model's mode is left as it was.

    Raises:
        InputError: wrong shape or type, or sides that are no multiples of 16.
    """
    if crops.ndim != 4 or crops.shape[3] != 3 or crops.dtype != np.uint8:
        raise InputError(f"crops must be (N, height, width, 3) uint8, got {crops.shape} {crops.dtype}")
    if crops.shape[1] % 16 or crops.shape[2] % 16:
        raise InputError(f"crops must have sides that are multiples of 16, got {crops.shape[2]}x{crops.shape[1]}")
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    found = np.empty(crops.shape[:3], np.float32)
    try:
        for start in range(0, len(crops), batch):
            pixels = torch.from_numpy(crops[start : start + batch]).to(device)
            found[start : start + batch] = torch.sigmoid(model(to_input(pixels).contiguous()))[:, 0].cpu().numpy()
    finally:
        model.train(training)
    return found
