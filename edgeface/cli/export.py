"""edgeface export and build: from a checkpoint to what a device runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeface.data.template import Points
    from edgeface_export.dictionary_export import DictionaryParts
    from edgeface_export.int8_export import Int8Settings

__all__ = ["calibration_faces", "register"]

LEAST_IOU = 0.5
"""Under it a segmenter's pixels, marked wrongly or missed, outnumber those it marks rightly."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(export)
    app.command()(build)


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="Checkpoint (.safetensors).")],
    out: Annotated[Path, typer.Option(help="Bundle to write: a folder, or one file ending in .tar.")],
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, int8, or several; all are written beside fp32.")
    ] = "fp16",
    faces: Annotated[
        Path | None, typer.Option(help="Identity folders to compare PyTorch and ONNX on; default: procedural faces.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many faces they are compared on.")] = 32,
    calibration: Annotated[int, typer.Option(help="INT8: how many other faces ranges are measured on.")] = 256,
    method: Annotated[str, typer.Option(help="INT8: percentile, minmax or entropy.")] = "percentile",
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
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a bundle: ONNX graphs compared with PyTorch, and a manifest. A failed comparison writes nothing."""
    from dataclasses import replace

    from edgeface.cli.progress import phases
    from edgeface.data.sample import sample_faces
    from edgeface.models import load_checkpoint
    from edgeface_export.bundle_writer import write_bundle
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    wanted = words(precision)
    if not wanted:
        raise InputError("--precision is empty: choose from fp32, fp16, int8")
    parts = _parts(dictionary, segmenter, opset)
    source = load_checkpoint(checkpoint)
    if licence:
        source = replace(source, meta=replace(source.meta, licence=licence))
    size = source.model.spec.input_size
    sample = sample_faces(faces, count, flag="--count", size=size)
    int8 = None
    if "int8" in wanted and faces is not None:
        int8 = calibration_faces(faces, count, calibration, method, size)
    with phases(quiet) as progress:
        manifest = write_bundle(
            source,
            out,
            name or out.name.removesuffix(".tar"),
            sample.crops,
            wanted,
            overwrite=force,
            opset=opset,
            dictionary=parts,
            keep_pattern=keep_pattern,
            int8=None if int8 is None else replace(int8, progress=progress),
        )
    output.wrote(out)
    output.data({"bundle": str(out), "compared_on": sample.source, **manifest.to_dict()})
    output.table(
        f"PyTorch against ONNX on {len(sample.crops)} {sample.source}",
        ("precision", "file", "MB", "cosine min", "cosine mean"),
        [
            (
                key,
                file,
                f"{manifest.files[file].size_bytes / 1e6:.1f}",
                f"{manifest.parity[key]['cosine_min']:.6f}",
                f"{manifest.parity[key]['cosine_mean']:.6f}",
            )
            for key, file in manifest.models.items()
        ],
    )
    for key, kept in manifest.extra["export"].get("int8", {}).get("layers_kept_fp32", {}).items():
        output.line(f"{key}: {len(kept)} layers stay FP32" + (f": {', '.join(kept)}" if kept else ""))
    if parts is not None:
        names = ", ".join(parts.masks.names)
        output.line(f"dictionary: {parts.masks.kind}, {len(parts.masks.names)} regions: {names}")
        if "warning" in parts.notes:
            output.line(f"warning: {segmenter}: {parts.notes['warning']}")


def calibration_faces(
    faces: Path, count: int, calibration: int, method: str, size: tuple[int, int], template: Points | None = None
) -> Int8Settings:
    """Faces to calibrate on: drawn after those that are compared on, so none is both."""
    from edgeface.data.sample import sample_faces
    from edgeface_export.int8_export import Int8Settings
    from edgeface_runtime.errors import InputError

    if calibration < 1:
        raise InputError(f"--calibration must be at least 1, got {calibration}")
    drawn = sample_faces(faces, count + calibration, flag="--calibration", size=size, template=template)
    if len(drawn.crops) <= count:
        raise InputError(
            f"--faces {faces} has {len(drawn.crops)} faces: {count} are compared on, none are left to calibrate"
        )
    return Int8Settings(drawn.crops[count:], drawn.source, method)


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


def build(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder or .tar.")],
    backend: Annotated[str, typer.Option(help="tensorrt or tensorrt-rtx.")] = "tensorrt",
    precision: Annotated[str, typer.Option(help="Which of the bundle's models: fp16, fp32 or int8.")] = "fp16",
    max_batch: Annotated[int, typer.Option(help="Largest batch the engine takes.")] = 8,
    opt_batch: Annotated[int, typer.Option(help="Batch the engine is tuned for.")] = 1,
    workspace: Annotated[int | None, typer.Option(help="Memory the builder may use, MiB; default: its own.")] = None,
    out: Annotated[Path | None, typer.Option(help="Engine to write; default: this device's engine cache.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an engine that is there at --out.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile a bundle's ONNX graph into a TensorRT engine for the GPU of this machine."""
    from edgeface.cli.claim import claim_file
    from edgeface.cli.progress import phases
    from edgeface_export.build import build_engine
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.engine import engine_path, is_engine

    output = Output(json, quiet)
    source = open_bundle(bundle)
    if out is not None:
        claim_file(out, "engine", is_engine, force)
    unused = None
    if source.manifest.dictionary is not None:
        unused = (
            f"the engine is the network without its mask dictionary ({source.manifest.masking}): "
            "enroll, identify and evaluate run this bundle on onnxruntime only"
        )
        output.line(f"warning: {unused}")  # before the minutes that building may take
    path = out or engine_path(source.model_sha256(precision), backend)
    with phases(quiet) as progress:
        built = build_engine(
            source.model_path(precision),
            path,
            backend,
            precision=precision,
            max_batch=max_batch,
            opt_batch=opt_batch,
            workspace_mib=workspace,
            progress=progress,
        )
    output.wrote(path)
    output.data({"engine": str(path), **built.to_dict(), "dictionary_unused": unused})
    layers = ", ".join(f"{number} {kind}" for kind, number in sorted(built.layers.items()))
    profile = built.profile
    output.line(f"{built.flavour} {built.tensorrt_version}, {built.precision}, built in {built.build_s:.1f} s")
    output.line(f"batch {profile.min_batch} to {profile.max_batch}, tuned for {profile.opt_batch}")
    output.line(f"layers: {layers} ({built.layers_note})")
    output.line(f"gpu: {built.gpu or 'none'}" + (f" ({built.note})" if built.note else ""))
