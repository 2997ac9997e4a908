"""The precisions of a bundle beside FP32, made from the FP32 graph alone and judged: FP16, INT8, INT8 with FP16."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from edgeface_calibration.peaks import measure_peaks
from edgeface_export.int8_export import INT8_MODELS, Int8Settings, Part, export_int8
from edgeface_export.judge import Judge
from edgeface_export.parity import batches_of
from edgeface_export.precision import overflowing, to_fp16
from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.errors import InputError

__all__ = ["MODELS", "Part", "check_int8", "check_precisions", "models_of", "write_variants"]

MODELS = {
    "fp32": "recognizer.onnx",
    "fp16": "recognizer.fp16.onnx",
    **{key: file for key, (file, _) in INT8_MODELS.items()},
}
"""Key among a bundle's models -> file in it. INT8 is two: what a CPU runs fast is not what TensorRT takes."""
PEAK_FACES = 128
"""Faces on which activations are measured for FP16; what comes within half of its range stays FP32."""


def check_precisions(asked: Collection[str]) -> list[str]:
    """The precisions asked for and FP32, in order.

    Raises:
        InputError: one is not known.
    """
    for precision in asked:
        if precision not in EXPORTED:
            raise InputError(f"unknown --precision {precision!r}: choose from {', '.join(EXPORTED)}")
    return [precision for precision in EXPORTED if precision == "fp32" or precision in asked]


def check_int8(precisions: Collection[str], settings: Int8Settings | None) -> None:
    """Raise InputError where INT8 is asked for with nothing to calibrate on."""
    wanted = [precision for precision in precisions if precision.startswith("int8")]
    if wanted and settings is None:
        raise InputError(f"--precision {wanted[0]} is calibrated on real faces: give --faces with identity folders")


def models_of(precisions: Collection[str]) -> dict[str, str]:
    """Models a bundle of these precisions has: key -> file."""
    return {key: file for key, file in MODELS.items() if key.removesuffix("-cpu") in precisions}


def write_variants(
    folder: Path,
    precisions: Collection[str],
    judge: Judge,
    int8: Int8Settings | None = None,
    parts: Sequence[Part] = (),
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Write what `precisions` asks for beside FP32 into `folder`, where the FP32 graph lies, and of its `parts` too.

    Returns:
        What the manifest records of each model, and of how it was made.

    Raises:
        InputError: INT8 without settings.
        GateError: a precision misses its gate, and `judge` does not accept that.
    """
    check_int8(precisions, int8)
    source = folder / MODELS["fp32"]
    parity: dict[str, dict[str, Any]] = {}
    notes: dict[str, Any] = {}
    if "fp16" in precisions:
        target = folder / MODELS["fp16"]
        faces = judge.judging.faces[:PEAK_FACES]
        large = overflowing(source, measure_peaks(source, batches_of(faces, judge.judging.spec)))
        report = to_fp16(source, target, large)
        for part in parts:
            to_fp16(part.source, folder / part.files["fp16"], large)
        parity["fp16"] = judge.judge("fp16", target)
        notes["fp16"] = {
            "nodes_kept_fp32": list(report.kept_fp32),
            "near_overflow": large,
            "measured_on": len(faces),
            "weights_clamped": report.clamped,
            "weights_vanished": report.vanished,
        }
    if int8 is not None and any(key.removesuffix("-cpu") in precisions for key in INT8_MODELS):
        drift, notes["int8"] = export_int8(folder, source, int8, judge, precisions, parts)
        parity |= drift
    judge.conclude(parity)
    return parity, notes
