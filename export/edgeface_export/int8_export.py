"""INT8 models for a bundle: ranges measured once, graphs for TensorRT (the rest FP32, or FP16) and one for a CPU.

Layers that would spoil an embedding stay FP32 and are listed; they are chosen on faces that were calibrated on, and
the gate is taken on others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeface_calibration.drift import GATES
from edgeface_calibration.int8_ranges import Ranges, check_method, measure_ranges
from edgeface_calibration.peaks import measure_peaks
from edgeface_export.int8 import layers, to_int8
from edgeface_export.int8_keep import choose_fp32_layers
from edgeface_export.judge import Judge, Progress
from edgeface_export.parity import batches_of, load_graph
from edgeface_export.precision import overflowing, to_fp16

__all__ = ["INT8_MODELS", "Int8Settings", "Part", "export_int8"]

MARGIN = 0.2
"""Share of what the gate allows that is left over when layers are chosen: they are judged on other faces."""
CHOOSING = 32
"""Faces layers are chosen on."""
STEP = 8
"""Faces measured at once: histograms hold all activations of so many."""
INT8_MODELS = {
    "int8": ("recognizer.int8.onnx", "tensorrt"),
    "int8-cpu": ("recognizer.int8.cpu.onnx", "cpu"),
    "int8+fp16": ("recognizer.int8.fp16.onnx", "tensorrt"),
}
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


@dataclass(frozen=True)
class Part:
    """A part of a network as an FP32 ONNX file of its own, nodes named as in the whole."""

    source: Path
    files: Mapping[str, str]
    """Key among a bundle's models -> the part's file."""


def export_int8(
    folder: Path,
    source: Path,
    settings: Int8Settings,
    judge: Judge,
    precisions: Collection[str],
    parts: Sequence[Part] = (),
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Write those of the INT8 models of the FP32 ONNX file `source` into `folder` that `precisions` asks for.

    `parts` of the network are written by what was measured on the whole.

    Returns:
        What the manifest records of each model, and of the calibration.
    """
    spec, few = judge.judging.spec, settings.faces[:CHOOSING]
    seen = batches_of(settings.faces, spec, STEP, partial(settings.progress, "int8: faces measured"))
    ranges = measure_ranges(source, seen, settings.method)
    parity: dict[str, dict[str, Any]] = {}
    kept: dict[str, list[str]] = {}
    notes: dict[str, Any] = {
        "method": settings.method,
        "faces": ranges.faces,
        "drawn_from": settings.source,
        "seed": settings.seed,
        "layers_kept_fp32": kept,
    }
    chosen: dict[str, tuple[str, ...]] = {}
    for key, (name, scheme) in INT8_MODELS.items():
        precision = key.removesuffix("-cpu")
        if precision not in precisions:
            continue
        if scheme not in chosen:
            told = partial(settings.progress, f"{key}: layers tried in FP32")
            wanted = GATES[precision].cosine_mean
            wanted += MARGIN * (1 - wanted)
            chosen[scheme] = choose_fp32_layers(source, ranges, few, wanted, scheme, told, spec)
        target = folder / name
        report = to_int8(source, target, ranges, scheme, chosen[scheme])
        pieces = [folder / part.files[key] for part in parts]
        for part, piece in zip(parts, pieces, strict=True):
            graph = load_graph(part.source)
            own = _of_part(ranges, graph, load_graph(source))
            to_int8(part.source, piece, own, scheme, set(layers(graph)) & set(chosen[scheme]))
        if precision == "int8+fp16":
            large = overflowing(target, measure_peaks(target, batches_of(few, spec)))
            for path in (target, *pieces):
                to_fp16(path, path, large)
            notes["int8+fp16"] = {"near_overflow": large, "measured_on": len(few)}
        parity[key] = judge.judge(key, target)
        kept[key] = list(report.kept_fp32)
    return parity, notes


def _of_part(ranges: Ranges, part: onnx.ModelProto, whole: onnx.ModelProto) -> Ranges:
    """Ranges with the names of a part, whose ends are called otherwise than in the whole."""
    named = {node.name: node for node in whole.graph.node}
    values = dict(ranges.values)
    for node in part.graph.node:
        if node.name in named:
            ends = (
                *zip(node.input, named[node.name].input, strict=True),
                *zip(node.output, named[node.name].output, strict=True),
            )
            values |= {mine: ranges.values[theirs] for mine, theirs in ends if theirs in ranges.values}
    return replace(ranges, values=values)
