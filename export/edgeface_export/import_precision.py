"""FP16 and INT8 of an imported FP32 graph, judged against that graph: there is no network in PyTorch to ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.int8_ranges import measure_ranges
from edgeface_export.bundle_writer import MODELS
from edgeface_export.import_checks import MAX_HALF, activation_peak, compare_graphs
from edgeface_export.int8 import to_int8
from edgeface_export.int8_export import CHOOSING, INT8_GATE, INT8_MODELS, MARGIN, STEP, Int8Settings
from edgeface_export.int8_keep import choose_fp32_layers
from edgeface_export.parity import to_input
from edgeface_export.precision import HALF_GATE, to_fp16
from edgeface_runtime.errors import GateError
from edgeface_runtime.manifest import InputSpec

__all__ = ["half_variant", "int8_variants"]

PEAK_FACES = 4
"""Faces that activations are measured on for FP16."""

Faces = NDArray[np.uint8]


def half_variant(folder: Path, main: Path, faces: Faces, spec: InputSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the FP16 graph of `main` into `folder`; its parity, and what the manifest says of it.

    Raises:
        GateError: an activation leaves FP16's range, or the lowest cosine is below HALF_GATE.
    """
    report = to_fp16(main, folder / MODELS["fp16"])
    peak, where = activation_peak(main, report.path, faces[:PEAK_FACES], spec)
    if peak > MAX_HALF:
        raise GateError(
            f"fp16: {where} reaches {peak:.0f}, beyond FP16's range (65504): leave fp16 out of --precision"
        )
    parity = compare_graphs(main, report.path, faces, spec, HALF_GATE).to_dict()
    return parity, {
        "nodes_kept_fp32": list(report.kept_fp32),
        "weights_clamped": report.clamped,
        "weights_vanished": report.vanished,
        "activation_max": peak,
        "activation_faces": min(len(faces), PEAK_FACES),
    }


def int8_variants(
    folder: Path, main: Path, faces: Faces, spec: InputSpec, settings: Int8Settings
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Write both INT8 graphs of `main` into `folder`, as `int8_export` does; parities, and what the manifest says.

    Raises:
        GateError: a mean cosine is below INT8_GATE.
    """

    def batches() -> Any:
        total = len(settings.faces)
        for start in range(0, total, STEP):
            yield to_input(settings.faces[start : start + STEP], spec)
            settings.progress("int8: faces measured", min(start + STEP, total), total)

    ranges = measure_ranges(main, batches(), settings.method)
    parity: dict[str, dict[str, Any]] = {}
    kept: dict[str, list[str]] = {}
    for key, (name, scheme) in INT8_MODELS.items():

        def told(done: int, total: int, key: str = key) -> None:
            settings.progress(f"{key}: layers tried in FP32", done, total)

        wanted = INT8_GATE + MARGIN * (1 - INT8_GATE)
        keep = choose_fp32_layers(main, ranges, settings.faces[:CHOOSING], wanted, scheme, told, spec)
        report = to_int8(main, folder / name, ranges, scheme, keep)
        found = compare_graphs(main, report.path, faces, spec, -1.0)
        if not found.cosine_mean >= INT8_GATE:
            raise GateError(
                f"{name} differs from the FP32 graph: mean cosine {found.cosine_mean:.4f} over {found.faces} faces, "
                f"below the gate {INT8_GATE}: calibrate on more faces (--calibration) or with another --method"
            )
        parity[key] = found.to_dict()
        kept[key] = list(report.kept_fp32)
    return parity, {
        "method": settings.method,
        "faces": ranges.faces,
        "drawn_from": settings.source,
        "seed": settings.seed,
        "layers_kept_fp32": kept,
    }
