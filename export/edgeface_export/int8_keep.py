"""Which layers stay FP32 so that an INT8 graph passes its gate: those that cost most alone.

The drifts of single layers nearly add up (MobileFaceNet: .030 summed over 50 layers, .029 for all of them at once),
so ordering them once is enough: the fewest of the worst are kept that bring the mean cosine to the gate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.int8_ranges import Ranges
from edgeface_export.int8 import layers, to_int8
from edgeface_export.parity import cosines, embed_onnx, load_graph
from edgeface_runtime.manifest import InputSpec

__all__ = ["choose_fp32_layers"]

Progress = Callable[[int, int], None]
"""Called with layers tried and layers in all."""


def choose_fp32_layers(
    source: Path,
    ranges: Ranges,
    faces: NDArray[np.uint8],
    gate: float,
    scheme: str = "tensorrt",
    progress: Progress = lambda done, total: None,
    spec: InputSpec | None = None,
) -> tuple[str, ...]:
    """Names of the layers of the FP32 ONNX file `source` to keep in FP32, worst first; none where all pass as INT8.

    Args:
        faces: (N, H, W, 3) uint8 BGR on which the mean cosine is taken; judge the result on others.
        spec: what the network eats, see `to_input`.
        gate: lowest mean cosine to FP32 that passes. With every layer kept it is 1, so one always does.
        spec: what the graph eats; None: as our own exports.
    """
    reference, _ = embed_onnx(source, faces, spec)
    names = layers(load_graph(source))
    with tempfile.TemporaryDirectory(prefix="edgeface-") as work:

        def drift(keep: list[str]) -> float:
            made = to_int8(source, Path(work) / "int8.onnx", ranges, scheme, keep)
            return 1.0 - float(cosines(reference, embed_onnx(made.path, faces, spec)[0]).mean())

        whole = drift([])
        if whole <= 1.0 - gate:
            return ()
        alone = []
        for number, name in enumerate(names, 1):
            alone.append(drift([other for other in names if other != name]))
            progress(number, len(names))
        order = np.argsort(alone)[::-1]
        # What is left is foretold by the sum, which only says where to begin trying.
        left = whole - np.cumsum(np.array(alone)[order])
        first = int(np.argmax(left <= 1.0 - gate)) + 1 if (left <= 1.0 - gate).any() else len(names)
        kept = [names[index] for index in order]
        count = first
        while count > 1 and drift(kept[: count - 1]) <= 1.0 - gate:
            count -= 1
        while count < len(names) and drift(kept[:count]) > 1.0 - gate:
            count += 1
    return tuple(kept[:count])
