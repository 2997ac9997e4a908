"""Checkpoint -> bundle: all that a device needs, in one folder or one `.tar`, every figure in it counted or measured.

The bundle is made in a hidden folder beside its place and renamed at the end, so a failed gate or a full disk leaves
nothing behind and an existing bundle untouched.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from edgeface.models import Checkpoint, CheckpointMeta, count
from edgeface_export.dictionary_export import DictionaryParts, check_fit, export_dictionary
from edgeface_export.int8_export import INT8_MODELS, Int8Settings, export_int8
from edgeface_export.memory import peak_memory
from edgeface_export.onnx_export import Exported, export_onnx
from edgeface_export.parity import GATE, compare, to_input
from edgeface_export.precision import HALF_GATE, half_cosine, to_fp16
from edgeface_runtime.align import CROP_SIZE, TEMPLATE
from edgeface_runtime.bundle import EXPORTED, InputSpec, Manifest, Ratio, pack_bundle, write_manifest
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write, part_folder
from edgeface_runtime.manifest import FORMAT, MANIFEST_NAME

__all__ = ["MODELS", "bundle_folder", "write_bundle"]

MODELS = {
    "fp32": "recognizer.onnx",
    "fp16": "recognizer.fp16.onnx",
    **{key: file for key, (file, _) in INT8_MODELS.items()},
}
"""Key among a bundle's models -> file in it. INT8 is two: what a CPU runs fast is not what TensorRT takes."""
HALF_FACES = 4
"""Faces run in real FP16 arithmetic, which a CPU does slowly."""
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
"""Ends of names that promise what a bundle never is."""


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    name: str,
    faces: np.ndarray,
    precisions: Sequence[str] = ("fp32",),
    *,
    overwrite: bool = False,
    opset: int = 18,
    gate: float = GATE,
    thresholds: Mapping[str, float] | None = None,
    created: str | None = None,
    measure_memory: bool = True,
    dictionary: DictionaryParts | None = None,
    keep_pattern: bool = False,
    int8: Int8Settings | None = None,
) -> Manifest:
    """Export `checkpoint` at each precision, compare each with the network on `faces`, and write the bundle `out`.

    Args:
        out: a folder, or a path that ends in `.tar` for a single file.
        faces: (N, H, W, 3) uint8 BGR, aligned crops.
        precisions: of EXPORTED; fp32 is always written, the others are made from it.
        overwrite: replace a bundle that is there. Anything else that is there is never replaced.
        thresholds: false match rate as text -> cosine threshold, where they were measured.
        created: ISO 8601 time in UTC; now, where not given.
        measure_memory: in a process of its own; without it, and with `created`, a network gives the same bytes.
        dictionary: segmenter and masks of a dictionary model; trunk and head are then written as graphs too.
        keep_pattern: keep the pattern head of a network trained with one: results say which part is covered.
        int8: how to calibrate, where int8 is among the precisions.

    Raises:
        InputError: an unknown precision, nothing to calibrate on, no faces, a dictionary of another network, no
            pattern head to keep, or `out` is taken or cannot be written.
        GateError: an exported graph differs from the network, or FP16 overflows; nothing is written.
    """
    wanted = _precisions(precisions)
    _check_int8(wanted, int8, dictionary)
    to_input(faces[:1])  # bad faces are said before the work, not after it
    if dictionary is not None:
        check_fit(checkpoint.model, dictionary)
    with bundle_folder(out, overwrite) as folder:
        parity, notes, exported = _export(checkpoint, folder, wanted, faces, opset, gate, keep_pattern)
        if int8 is not None and "int8" in wanted:
            drift, notes["int8"] = export_int8(checkpoint.model, folder, folder / MODELS["fp32"], int8, faces)
            parity |= drift
        extra: dict[str, Any] = {"export": notes}
        if dictionary is not None:
            extra["dictionary"] = export_dictionary(checkpoint.model, folder, dictionary, faces, wanted, opset, gate)
        manifest = replace(
            _manifest(checkpoint, name, wanted, exported, keep_pattern),
            parity=parity,
            peak_memory_bytes=peak_memory(folder / MODELS["fp32"]) if measure_memory else None,
            thresholds=dict(thresholds or {}),
            created=created or datetime.now(timezone.utc).isoformat(timespec="seconds"),
            extra=extra,
        )
        if dictionary is not None:
            manifest = replace(manifest, masking=dictionary.masks.kind)
        manifest = write_manifest(folder, manifest)
    return manifest


@contextlib.contextmanager
def bundle_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a folder to make a bundle in; at the end it, or a `.tar` of it, takes its place at `out`.

    Raises:
        InputError: `out` is taken or cannot be written; before anything is made.
    """
    _check_place(out, overwrite)
    with part_folder(out) as work, _named(out, work):
        folder = work / "bundle"
        folder.mkdir()
        yield folder
        if out.suffix == ".tar":
            pack_bundle(folder, work / "bundle.tar").replace(out)
        else:
            _put(folder, out, work / "replaced")


@contextlib.contextmanager
def _named(out: Path, work: Path) -> Iterator[None]:
    """Have errors of writing name the file that was to be, not where it lay for the moment."""
    try:
        yield
    except OSError as exc:
        raise cannot_write(out, exc) from exc
    except InputError as exc:
        inside = str(work / "bundle")
        if inside not in str(exc):
            raise
        raise InputError(str(exc).replace(f"{inside}.tar", str(out)).replace(inside, str(out))) from exc


def _precisions(asked: Sequence[str]) -> list[str]:
    for precision in asked:
        if precision not in EXPORTED:
            raise InputError(f"unknown --precision {precision!r}: choose from {', '.join(EXPORTED)}")
    return [precision for precision in EXPORTED if precision == "fp32" or precision in asked]


def _check_int8(precisions: Sequence[str], int8: Int8Settings | None, dictionary: DictionaryParts | None) -> None:
    if "int8" not in precisions:
        return
    if dictionary is not None:
        raise InputError("--precision int8: a model with --dictionary has fp32 and fp16 only, for now")
    if int8 is None:
        raise InputError("--precision int8 is calibrated on real faces: give --faces with identity folders")


def _export(
    checkpoint: Checkpoint,
    folder: Path,
    precisions: Sequence[str],
    faces: np.ndarray,
    opset: int,
    gate: float,
    keep_pattern: bool,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any], Exported]:
    model, main = checkpoint.model, folder / MODELS["fp32"]
    exported = export_onnx(model, main, opset, keep_pattern=True) if keep_pattern else export_onnx(model, main, opset)
    parity = {"fp32": compare(model, main, faces, gate).to_dict()}
    notes: dict[str, Any] = {
        "opset": opset,
        "batch_norms_kept": list(exported.bn_kept),
        "torch": str(torch.__version__),
        "onnx": str(onnx.__version__),
    }
    if "fp16" in precisions:
        half = folder / MODELS["fp16"]
        report = to_fp16(main, half)
        few = faces[:HALF_FACES]
        parity["fp16"] = {
            **compare(model, half, faces, min(gate, HALF_GATE)).to_dict(),
            "arithmetic_cosine_min": half_cosine(model, few),
            "arithmetic_faces": len(few),
        }
        notes["fp16"] = {
            "nodes_kept_fp32": list(report.kept_fp32),
            "weights_clamped": report.clamped,
            "weights_vanished": report.vanished,
        }
    return parity, notes, exported


def _manifest(
    checkpoint: Checkpoint, name: str, precisions: Sequence[str], exported: Exported, keep_pattern: bool
) -> Manifest:
    spec, meta = checkpoint.model.spec, checkpoint.meta
    spec = spec if keep_pattern else spec.deployed
    counts = count(spec)
    height, width = spec.input_size
    return Manifest(
        name=name,
        created="",
        models={key: file for key, file in MODELS.items() if key.removesuffix("-cpu") in precisions},
        template=tuple((float(x), float(y)) for x, y in TEMPLATE),
        outputs=exported.outputs,
        embedding_size=spec.embedding,
        masking=spec.mask.kind if spec.mask else "none",
        input=InputSpec(height=height, width=width),
        crop="aligned" if (height, width) == CROP_SIZE else "box",
        ratio=Ratio(float(meta.ratio_requested), float(meta.ratio_achieved)),
        arch=spec.to_dict(),
        macs=counts.macs,
        parameters=counts.parameters,
        accuracy=tuple(meta.accuracy),
        training=_training(meta),
        weights={"licence": meta.licence, "data": meta.data},
    )


def _training(meta: CheckpointMeta) -> dict[str, Any]:
    return {
        "stage": meta.stage,
        "loss": meta.loss,
        "seed": meta.seed,
        "data": meta.data,
        "epochs": meta.epochs,
        "faces_seen": meta.faces_seen,
        "history": list(meta.history),
    }


def _check_place(out: Path, overwrite: bool) -> None:
    """Refuse a compressed file's name, what is not a bundle, and a bundle unless it may be replaced."""
    if out.name.lower().endswith(COMPRESSED):
        raise InputError(f"--out {out}: a bundle is a folder or an uncompressed .tar: give a name of one of them")
    if not os.path.lexists(out) or (out.suffix != ".tar" and out.is_dir() and not any(out.iterdir())):
        return
    if not _is_bundle(out):
        raise InputError(f"{out} exists and is not a bundle: choose another --out")
    if not overwrite:
        raise InputError(f"{out} exists: choose another --out, or replace it with --force")


def _is_bundle(out: Path) -> bool:
    if out.is_symlink() or (out.suffix == ".tar") != out.is_file():
        return False
    try:
        if out.is_dir():
            text = (out / MANIFEST_NAME).read_bytes()
        else:
            with tarfile.open(out, "r:") as archive:
                member = archive.extractfile(MANIFEST_NAME)
                text = member.read() if member else b""
        data = json.loads(text)
    except (OSError, ValueError, KeyError, tarfile.TarError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def _put(folder: Path, out: Path, aside: Path) -> None:
    """Move the finished folder to its place; the old one is only removed once the new one is there."""
    replaced = out.is_dir() and any(out.iterdir())
    if replaced:
        out.rename(aside)
    try:
        folder.rename(out)
    except OSError:
        if replaced:
            aside.rename(out)
        raise
