"""What `edgeface export` and `edgeface calibrate int8` share: the faces precisions are judged on, and their table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeface.cli.parse import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeface.cli.output import Output
    from edgeface.data.judged import JudgedFaces
    from edgeface.data.template import Points
    from edgeface_export.int8_export import Int8Settings
    from edgeface_runtime.manifest import Manifest

__all__ = [
    "Calibration",
    "Count",
    "Method",
    "Pairs",
    "asked_precisions",
    "int8_settings",
    "note_lost",
    "show_precisions",
    "thresholds_there",
]

Count = Annotated[
    int | None,
    typer.Option(
        help="How many faces are judged on.", show_default="500, at most half of what there is; drawn ones: 32"
    ),
]
Pairs = Annotated[
    Path | None, typer.Option(help="Pairs file over the faces (LFW's format) to judge on, in place of drawn pairs.")
]
Calibration = Annotated[int, typer.Option(help="INT8: how many other faces ranges are measured on.")]
Method = Annotated[str, typer.Option(help="INT8: percentile, minmax or entropy.")]


def int8_settings(
    wanted: Sequence[str],
    folder: Path | None,
    judged: JudgedFaces,
    calibration: int,
    method: str,
    size: tuple[int, int],
    template: Points | None = None,
) -> Int8Settings | None:
    """Faces to calibrate on, none of those judged on; None where no precision wants any, or no folder is given."""
    if folder is None or not any(precision.startswith("int8") for precision in wanted):
        return None
    from edgeface.data.judged import SEED, calibration_faces
    from edgeface_export.int8_export import Int8Settings

    drawn = calibration_faces(folder, calibration, judged, size, template)
    return Int8Settings(drawn.crops, drawn.source, method, SEED)


def asked_precisions(text: str) -> tuple[str, ...]:
    """The precisions of a flag; InputError where it names none."""
    from edgeface_runtime.errors import InputError

    if not (wanted := words(text)):
        raise InputError("--precision is empty: choose from fp32, fp16, int8, int8+fp16")
    return wanted


def thresholds_there(out: Path) -> dict[str, float]:
    """Thresholds of the bundle that is about to be replaced; none where there is no readable one."""
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.errors import EdgefaceError

    try:
        return dict(open_bundle(out).manifest.thresholds) if out.exists() else {}
    except EdgefaceError:
        return {}


def note_lost(output: Output, thresholds: Mapping[str, float]) -> None:
    """Say that a replaced bundle's thresholds are gone."""
    if thresholds:
        told = ", ".join(f"{value:.4f} at {rate}" for rate, value in thresholds.items())
        output.note(f"the thresholds of the bundle that was there are gone ({told}): calibrate them again")


def show_precisions(output: Output, manifest: Manifest, judged: JudgedFaces) -> None:
    """A table of the models with how far each is from FP32, and what of them stays FP32."""
    pairs = f", {judged.pairs.source}" if judged.pairs is not None else ""
    alone = len(manifest.models) == 1  # FP32 is compared with the original, on a few
    seen = manifest.parity["fp32"]["faces"] if alone else len(judged.crops)
    output.table(
        f"judged on {seen} {judged.source}{'' if alone else pairs}",
        ("precision", "file", "MB", "cosine min", "p1", "mean", "accuracy", "TAR", "gate"),
        [
            _row(key, file, manifest.files[file].size_bytes, manifest.parity[key])
            for key, file in manifest.models.items()
        ],
    )
    notes = manifest.extra.get("export", {})
    for key, kept in notes.get("int8", {}).get("layers_kept_fp32", {}).items():
        output.line(f"{key}: {len(kept)} layers stay FP32" + (f": {', '.join(kept)}" if kept else ""))
    for key, made in (("fp16", notes.get("fp16", {})), ("int8+fp16", notes.get("int8", {}).get("int8+fp16", {}))):
        if large := made.get("near_overflow"):
            output.line(f"{key}: {len(large)} nodes near FP16's largest value stay FP32: {', '.join(large)}")
    for key, record in manifest.parity.items():
        for reason in record.get("missed", ()):
            output.note(f"warning: {key} misses its gate: {reason}")


def _row(key: str, file: str, size_bytes: int, record: Mapping[str, Any]) -> tuple[object, ...]:
    from edgeface.workflows.inspect.bundle import change

    first = record.get("cosine_p1")
    return (
        key,
        file,
        f"{size_bytes / 1e6:.1f}",
        f"{record['cosine_min']:.6f}",
        "" if first is None else f"{first:.6f}",
        f"{record['cosine_mean']:.6f}",
        change(record, "accuracy"),
        change(record, "tar"),
        "" if "gate" not in record else "missed" if record.get("missed") else "passed",
    )
