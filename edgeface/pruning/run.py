"""Pruning a checkpoint into a checkpoint, with what was done kept in its history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeface.models.checkpoint import Checkpoint, save_checkpoint
from edgeface.pruning.importance import find_method
from edgeface.pruning.prune import PruneReport, prune
from edgeface.pruning.reconstruct import reconstruct
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.manifest import InputSpec

__all__ = ["prune_checkpoint"]


def prune_checkpoint(
    source: Checkpoint,
    ratio: float,
    out: Path,
    *,
    method: str = "l1",
    allocation: str | None = None,
    steps: int = 1,
    round_to: int = 8,
    faces: npt.NDArray[np.uint8] | None = None,
    source_of_faces: str = "",
    refit: npt.NDArray[np.uint8] | None = None,
    progress: Callable[[str], None] | None = None,
) -> PruneReport:
    """Prune and write `out`.

    Args:
        method, allocation, steps: as in `edgeface.pruning.prune`.
        faces: (N, H, W, 3) uint8 BGR crops for the sensitivity and for methods that measure.
        source_of_faces: what they are, in words.
        refit: crops to refit the layers on (`edgeface.pruning.reconstruct`); None leaves them as they were cut.

    Raises:
        InputError: ratio, method, allocation, steps or rounding out of range, or no faces where they are needed.
    """
    height, width = source.model.spec.input_size
    size = InputSpec(height=height, width=width)
    batch = None if faces is None else torch.from_numpy(to_batch(faces, size))
    seen = None if refit is None else torch.from_numpy(to_batch(refit, size))
    pruned = prune(
        source.model,
        ratio,
        method=method,
        allocation=allocation,
        steps=steps,
        round_to=round_to,
        faces=batch,
        refit=seen,
        progress=progress,
    )
    if seen is not None and ratio > 0:
        reconstruct(source.model, pruned.model, pruned.kept, seen, progress=progress)
    report, meta = pruned.report, source.meta
    measured = report.allocation == "sensitivity" or find_method(method).needs_faces
    how = (
        method,
        report.allocation + (f" on {source_of_faces}" if measured else ""),
        *([f"{steps} steps"] if steps > 1 else []),
        *([f"refitted on {len(seen)} faces"] if seen is not None else []),
    )
    changes: dict[str, Any] = {
        "stage": "pruned",
        "ratio_requested": round(1 - (1 - meta.ratio_requested) * (1 - ratio), 6),
        "ratio_achieved": round(1 - (1 - meta.ratio_achieved) * (1 - report.achieved), 6),
    }
    line = f"pruned: ratio {ratio:g} requested, {report.achieved:.4f} achieved, {', '.join(how)}"
    save_checkpoint(out, pruned.model, meta.step(line, **changes) if ratio > 0 else meta)
    return report
