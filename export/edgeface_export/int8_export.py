"""INT8 models for a bundle: ranges measured once, a graph for TensorRT and one for a CPU, each with its gate.

Layers that would spoil an embedding stay FP32 and are listed; they are chosen on faces that were calibrated on, and
the gate is taken on others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.models import FaceNet
from edgeface_calibration.int8_ranges import check_method, measure_ranges
from edgeface_export.int8 import to_int8
from edgeface_export.int8_keep import choose_fp32_layers
from edgeface_export.parity import compare, to_input
from edgeface_runtime.errors import GateError

__all__ = ["INT8_GATE", "INT8_MODELS", "Int8Settings", "export_int8"]

Progress = Callable[[str, int, int], None]
INT8_GATE = 0.99
"""Lowest mean cosine between INT8 and FP32 that passes."""
MARGIN = 0.2
"""Share of what the gate allows that is left over when layers are chosen: they are judged on other faces."""
CHOOSING = 32
"""Faces layers are chosen on."""
STEP = 8
"""Faces measured at once: histograms hold all activations of so many."""
INT8_MODELS = {"int8": ("recognizer.int8.onnx", "tensorrt"), "int8-cpu": ("recognizer.int8.cpu.onnx", "cpu")}
"""Key among a bundle's models -> its file and its scheme."""


@dataclass(frozen=True)
class Int8Settings:
    """How ranges are measured."""

    faces: NDArray[np.uint8]
    """(N, H, W, 3) uint8 BGR, aligned crops of real people, to calibrate on."""
    source: str
    """What they are, in words, for the manifest."""
    method: str = "percentile"
    """minmax, entropy or percentile."""
    seed: int = 0
    """With which they were drawn, for the manifest."""
    progress: Progress = lambda phase, done, total: None
    """Called with a phase's name, faces or layers done, and all of them."""

    def __post_init__(self) -> None:
        check_method(self.method)


def export_int8(
    model: FaceNet, folder: Path, source: Path, settings: Int8Settings, faces: NDArray[np.uint8]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Write both INT8 models of the FP32 ONNX file `source` of `model` into `folder`.

    Args:
        faces: (N, H, W, 3) uint8 BGR to judge on, none of those calibrated on.

    Returns:
        Parity by model, and what the manifest says of the calibration.

    Raises:
        GateError: a mean cosine is below INT8_GATE.
    """
    ranges = measure_ranges(source, _batches(settings), settings.method)
    parity: dict[str, dict[str, Any]] = {}
    kept: dict[str, list[str]] = {}
    for key, (name, scheme) in INT8_MODELS.items():
        wanted = INT8_GATE + MARGIN * (1 - INT8_GATE)
        told = partial(settings.progress, f"{key}: layers tried in FP32")
        keep = choose_fp32_layers(source, ranges, settings.faces[:CHOOSING], wanted, scheme, told)
        report = to_int8(source, folder / name, ranges, scheme, keep)
        found = compare(model, folder / name, faces, gate=-1.0)
        if not found.cosine_mean >= INT8_GATE:
            raise GateError(
                f"{name} differs from the network: mean cosine {found.cosine_mean:.4f} over {found.faces} faces, "
                f"below the gate {INT8_GATE}: calibrate on more faces (--calibration) or with another --method"
            )
        parity[key] = found.to_dict()
        kept[key] = list(report.kept_fp32)
    notes = {
        "method": settings.method,
        "faces": ranges.faces,
        "drawn_from": settings.source,
        "seed": settings.seed,
        "layers_kept_fp32": kept,
    }
    return parity, notes


def _batches(settings: Int8Settings) -> Iterator[NDArray[np.float32]]:
    total = len(settings.faces)
    for start in range(0, total, STEP):
        yield to_input(settings.faces[start : start + STEP])
        settings.progress("int8: faces measured", min(start + STEP, total), total)
