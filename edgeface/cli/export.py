"""edgeface export: from a checkpoint to what a device runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.precisions import (
    Calibration,
    Count,
    Method,
    Pairs,
    asked_precisions,
    int8_settings,
    note_lost,
    show_precisions,
    thresholds_there,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeface_export.dictionary_export import DictionaryParts

__all__ = ["register"]

LEAST_IOU = 0.5
"""Under it a segmenter's pixels, marked wrongly or missed, outnumber those it marks rightly."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="Checkpoint (.safetensors).")],
    out: Annotated[Path, typer.Option(help="Bundle to write: a folder, or one file ending in .tar.")],
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, int8, int8+fp16, or several; all are written beside fp32.")
    ] = "fp16",
    faces: Annotated[
        Path | None, typer.Option(help="Identity folders of aligned faces to judge on; default: procedural faces.")
    ] = None,
    count: Count = None,
    pairs: Pairs = None,
    calibration: Calibration = 256,
    method: Method = "percentile",
    name: Annotated[str | None, typer.Option(help="Name of the model; default: that of the bundle.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the manifest.")] = "",
    opset: Annotated[int, typer.Option(help="ONNX opset, 18 to 20.")] = 18,
    dictionary: Annotated[
        Path | None, typer.Option(help="Mask dictionary (.npz) of this network; needs --segmenter.")
    ] = None,
    segmenter: Annotated[
        Path | None, typer.Option(help="Segmenter (.safetensors) that finds what is covered; needs --dictionary.")
    ] = None,
    keep_pattern: Annotated[
        bool, typer.Option("--keep-pattern", help="Keep the pattern head: results then say which part is covered.")
    ] = False,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Keep the weights of the FP32 graph as FP16: half the file.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a bundle that is there; write what misses its gate, and say so.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a bundle: ONNX graphs judged against PyTorch and FP32, and a manifest. A missed gate writes nothing."""
    from dataclasses import replace

    from edgeface.cli.progress import phases
    from edgeface.data.judged import judged_faces
    from edgeface.models import load_checkpoint
    from edgeface_export.bundle_writer import write_bundle
    from edgeface_export.judge import Judging

    output = Output(json, quiet)
    wanted = asked_precisions(precision)
    parts = _parts(dictionary, segmenter, opset)
    source = load_checkpoint(checkpoint)
    if licence:
        source = replace(source, meta=replace(source.meta, licence=licence))
    size = source.model.spec.input_size
    sample = judged_faces(faces, count, pairs, size)
    int8 = int8_settings(wanted, faces, sample, calibration, method, size)
    lost = thresholds_there(out)
    with phases(quiet) as progress:
        manifest = write_bundle(
            source,
            out,
            name or out.name.removesuffix(".tar"),
            Judging(sample.crops, sample.pairs, accept=force, progress=progress),
            wanted,
            overwrite=force,
            opset=opset,
            dictionary=parts,
            keep_pattern=keep_pattern,
            half_weights=half_weights,
            int8=None if int8 is None else replace(int8, progress=progress),
        )
    output.wrote(out)
    note_lost(output, lost)
    output.data({"bundle": str(out), "compared_on": sample.source, **manifest.to_dict()})
    show_precisions(output, manifest, sample)
    if parts is not None:
        names = ", ".join(parts.masks.names)
        output.line(f"dictionary: {parts.masks.kind}, {len(parts.masks.names)} regions: {names}")
        if "warning" in parts.notes:
            output.line(f"warning: {segmenter}: {parts.notes['warning']}")


def _parts(dictionary: Path | None, segmenter: Path | None, opset: int) -> DictionaryParts | None:
    """What makes a dictionary model of a network, where it is asked for."""
    from edgeface_export.dictionary_export import DictionaryParts
    from edgeface_runtime.dictionary import load_dictionary
    from edgeface_runtime.errors import InputError

    if dictionary is None and segmenter is None:
        return None
    if dictionary is None or segmenter is None:
        given, missing = ("--dictionary", "--segmenter") if segmenter is None else ("--segmenter", "--dictionary")
        raise InputError(f"{given} needs {missing}: a dictionary model has both")
    from edgeface.models.segmenter import load_segmenter, read_segmenter
    from edgeface_export.segmenter_export import compare_segmenter, export_segmenter

    masks, covers = load_dictionary(dictionary), load_segmenter(segmenter)
    spec, meta = read_segmenter(segmenter)
    notes = {
        "arch": spec.arch,
        "data": meta.data,
        "licence": meta.licence,
        "iou": meta.iou,
        "pixel_accuracy": meta.pixel_accuracy,
        "held_out": meta.held_out,
    }
    if meta.iou is None:
        notes["warning"] = "its IoU was never measured, so nobody knows whether it finds what covers a face"
    elif meta.iou < LEAST_IOU:
        notes["warning"] = (
            f"its IoU is {meta.iou:.2f}, it marks or misses more wrongly than it marks rightly: train it longer"
        )

    def write(path: Path, faces: NDArray[np.uint8]) -> dict[str, Any]:
        return {"parity": compare_segmenter(covers, export_segmenter(covers, path, opset), faces).to_dict()}

    return DictionaryParts(masks, write, covers.input_size, notes)
