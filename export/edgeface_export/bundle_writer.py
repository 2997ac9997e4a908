"""Checkpoint -> bundle: all that a device needs, in one folder or one `.tar`, every figure in it counted or measured.

The bundle is made in a hidden folder beside its place and renamed at the end, so a failed gate or a full disk leaves
nothing behind and an existing bundle untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgeface.models import Checkpoint, CheckpointMeta, count
from edgeface_export.bundle_place import bundle_folder, check_place
from edgeface_export.dictionary_export import DictionaryParts, check_fit, export_dictionary, write_parts
from edgeface_export.half_weights import store_half
from edgeface_export.int8_export import Int8Settings
from edgeface_export.judge import Judge, Judging
from edgeface_export.memory import peak_memory
from edgeface_export.onnx_export import Exported, export_onnx
from edgeface_export.parity import GATE, compare, to_input
from edgeface_export.variants import MODELS, check_int8, check_precisions, models_of, write_variants
from edgeface_runtime.align import CROP_SIZE, TEMPLATE
from edgeface_runtime.bundle import InputSpec, Manifest, Ratio, write_manifest

__all__ = ["write_bundle"]

PARITY_FACES = 64
"""Faces on which the FP32 graph is compared with the network itself."""


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    name: str,
    faces: NDArray[np.uint8] | Judging,
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
    half_weights: bool = False,
    int8: Int8Settings | None = None,
) -> Manifest:
    """Export `checkpoint` at each precision, judge each on real faces, and write the bundle `out`.

    Args:
        out: a folder, or a path that ends in `.tar` for a single file.
        faces: (N, H, W, 3) uint8 BGR, aligned crops; or those with pairs, to judge more than cosines. The FP32 graph
            is compared with the network on the first, other precisions with FP32 on all.
        precisions: of EXPORTED; fp32 is always written, the others are made from it.
        overwrite: replace a bundle that is there. Anything else that is there is never replaced.
        thresholds: false match rate as text -> cosine threshold, where they were measured.
        created: ISO 8601 time in UTC; now, where not given.
        measure_memory: in a process of its own; without it, and with `created`, a network gives the same bytes.
        dictionary: segmenter and masks of a dictionary model; trunk and head are then written as graphs too.
        keep_pattern: keep the pattern head of a network trained with one: results say which part is covered.
        half_weights: keep the weights of the FP32 graph as FP16; it is judged like that.
        int8: how to calibrate, where int8 is among the precisions.

    Raises:
        InputError: an unknown precision, nothing to calibrate on, no faces, a dictionary of another network, no
            pattern head to keep, or `out` is taken or cannot be written.
        GateError: an exported graph differs from the network, or FP16 overflows; nothing is written.
    """
    wanted = check_precisions(precisions)
    check_int8(wanted, int8)
    judging = faces if isinstance(faces, Judging) else Judging(faces)
    to_input(judging.faces[:1])  # bad faces are said before the work, not after it
    if dictionary is not None:
        check_fit(checkpoint.model, dictionary)
    check_place(out, overwrite)
    model, few = checkpoint.model, judging.faces[:PARITY_FACES]
    with bundle_folder(out) as folder:
        main = folder / MODELS["fp32"]
        exported = (
            export_onnx(model, main, opset, keep_pattern=True) if keep_pattern else export_onnx(model, main, opset)
        )
        if half_weights:
            store_half(main)
        parity = {"fp32": compare(model, main, few, gate).to_dict()}
        notes: dict[str, Any] = {
            "opset": opset,
            "batch_norms_kept": list(exported.bn_kept),
            "torch": str(torch.__version__),
            "onnx": str(onnx.__version__),
        }
        if half_weights:
            notes["fp32_weights"] = "fp16"
        parts = () if dictionary is None else write_parts(model, folder, opset)
        if len(wanted) > 1:
            drift, made = write_variants(folder, wanted, Judge(main, judging), int8, parts)
            parity |= drift
            notes |= made
        extra: dict[str, Any] = {"export": notes}
        if dictionary is not None:
            extra["dictionary"] = export_dictionary(model, folder, dictionary, few, list(models_of(wanted)), gate)
        manifest = replace(
            _manifest(checkpoint, name, wanted, exported, keep_pattern),
            parity=parity,
            peak_memory_bytes=peak_memory(main) if measure_memory else None,
            thresholds=dict(thresholds or {}),
            created=created or datetime.now(timezone.utc).isoformat(timespec="seconds"),
            extra=extra,
        )
        if dictionary is not None:
            manifest = replace(manifest, masking=dictionary.masks.kind)
        return write_manifest(folder, manifest)


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
        models=models_of(precisions),
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
