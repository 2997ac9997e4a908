"""Ranges of a network's activations on real faces, for static INT8 quantisation.

ONNX Runtime's own calibrators do the measuring: minmax keeps the extremes, percentile cuts a share of the values off
at both ends, entropy chooses the cut that loses least information (Kullback-Leibler). One measuring serves every INT8
variant of a network.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError
from edgeface_runtime.files import require_file

__all__ = ["LAYERS", "METHODS", "Ranges", "check_method", "mapped", "measure_ranges", "silent"]

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "minmax": ("MinMax", {}),
    "percentile": ("Percentile", {"percentile": 99.99}),
    "entropy": ("Entropy", {"num_bins": 2048, "num_quantized_bins": 128}),
}
"""Our name -> ONNX Runtime's, and what it is set to; its own 128 bins for 128 values leave entropy nothing to cut."""
LAYERS = ("Conv", "Gemm")
"""Operators that are quantised; what they eat and give is measured."""


@dataclass(frozen=True)
class Ranges:
    """What was measured."""

    method: str
    """Key of METHODS."""
    faces: int
    """How many were seen."""
    values: Mapping[str, tuple[float, float]]
    """Tensor's name -> lowest and highest value to represent."""


def measure_ranges(graph: Path, batches: Iterable[NDArray[np.float32]], method: str = "percentile") -> Ranges:
    """Run the FP32 ONNX file `graph` on `batches` and return the range of what every layer eats and gives.

    Args:
        batches: of (N, 3, H, W) float32, as the network takes them. Small ones bound memory: histograms hold every
            activation of a batch at once.

    Raises:
        InputError: unknown method, no faces, or no such file.
        ArtefactError: the graph does not run on them.
        ModuleNotFoundError: onnx or onnxruntime is not installed.
    """
    check_method(method)
    require_file(graph, "ONNX file")
    from onnxruntime.quantization import calibrate

    name, options = METHODS[method]
    faces = 0
    # The calibrators print, and write the graph they run, with more outputs than ours, to a file.
    with tempfile.TemporaryDirectory(prefix="edgeface-") as work, silent(), mapped(graph, "calibrated"):
        calibrator = calibrate.create_calibrator(
            graph,
            LAYERS,
            augmented_model_path=str(Path(work) / "outputs.onnx"),
            calibrate_method=calibrate.CalibrationMethod[name],
            extra_options=options,
        )
        for batch in batches:
            calibrator.collect_data(_Once(batch))
            faces += len(batch)
        if not faces:
            raise InputError("no faces to calibrate on")
        found = calibrator.compute_data()
    return Ranges(method, faces, {key: _range(entry) for key, entry in found.items()})


def check_method(method: str) -> None:
    """Raise InputError unless `method` is of METHODS."""
    if method not in METHODS:
        raise InputError(f"unknown --method {method!r}: choose one of {', '.join(METHODS)}")


class _Once:
    """One batch, in the form a calibrator reads."""

    def __init__(self, batch: NDArray[np.float32]) -> None:
        self.batches = [{"input": batch}]

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return self.batches.pop() if self.batches else None


def _range(entry: Any) -> tuple[float, float]:
    low, high = entry.range_value
    return float(np.min(low)), float(np.max(high))


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep back what ONNX Runtime's quantisation prints and warns of, such as a graph that was not pre-processed."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def mapped(graph: Path, done: str) -> Iterator[None]:
    """Turn whatever ONNX Runtime raises into ArtefactError: its exceptions have no common base. `done` is a verb."""
    try:
        yield
    except (EdgefaceError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as exc:
        line = " ".join(str(exc).split())[:200]
        raise ArtefactError(f"{graph}: cannot be {done} ({line}): export it again") from exc
