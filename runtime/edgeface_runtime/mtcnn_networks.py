"""The three networks of MTCNN as functions of raw pixels, and what is done to their inputs and outputs.

Their graphs (`scripts/convert_mtcnn.py`) take BGR pixels as they are and give one array: box offsets, the logit of a
face and, for O-Net, the landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import MissingExtraError

__all__ = ["OPENERS", "Network", "face_share", "in_batches", "logit", "planes"]

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Network = Callable[[Floats], Floats]
"""(N, 3, H, W) float32 BGR in [0, 255] to (N, 5 or 15, ...) float32: 4 offsets, 1 logit, 10 landmark coordinates."""

BATCH = 32
"""Windows given to R-Net or O-Net at once: more is no faster, and this bounds memory on crowded pictures."""


def planes(pixels: Pixels) -> Floats:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32, the same values."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)


def in_batches(network: Network, pixels: Pixels) -> Floats:
    """Run a network on (N, H, W, 3) uint8 windows, N >= 1, a bounded number at once."""
    parts = [network(planes(pixels[start : start + BATCH])) for start in range(0, len(pixels), BATCH)]
    return np.concatenate(parts)


def face_share(logits: Floats) -> Floats:
    """Probabilities of a face: the sigmoid, in float32."""
    return np.asarray(1 / (1 + np.exp(-np.maximum(logits, -80))), dtype=np.float32)  # exp(89) overflows


def logit(share: float) -> float:
    """The logit from which `face_share` is at least `share`, in (0, 1)."""
    return float(np.log(share / (1 - share)))


def _open_onnxruntime(path: Path, threads: int) -> Network:
    try:
        import onnxruntime
    except ImportError as exc:
        raise MissingExtraError("onnxruntime", "cpu") from exc
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(batch: Floats) -> Floats:
        output: Floats = session.run(None, {"input": batch})[0]
        return output

    return run


OPENERS: dict[str, Callable[[Path, int], Network]] = {"onnxruntime": _open_onnxruntime}
"""What opens a network's file with a number of threads, by the backend's name."""
