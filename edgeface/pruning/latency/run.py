"""Pruning a checkpoint to a latency, with what was done kept in its history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeface.models.checkpoint import Checkpoint, save_checkpoint
from edgeface.pruning.latency.halfway import halfway
from edgeface.pruning.latency.prune import LatencyPruned, prune_to_latency
from edgeface.pruning.latency.report import LatencyReport
from edgeface_calibration.device_profile import DeviceProfile
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.manifest import InputSpec

__all__ = ["prune_checkpoint_to_latency", "save_pruned"]


def prune_checkpoint_to_latency(
    source: Checkpoint,
    profile: DeviceProfile,
    target_ms: float,
    out: Path,
    faces: npt.NDArray[np.uint8],
    source_of_faces: str,
    *,
    method: str = "l1",
    round_to: int = 8,
    keep_blocks: bool = False,
    refit: npt.NDArray[np.uint8] | None = None,
    progress: Callable[[str], None] | None = None,
) -> LatencyReport:
    """Prune and write `out`.

    Args:
        faces: (N, H, W, 3) uint8 BGR crops that losses are measured on; `source_of_faces` names them.
        keep_blocks: only narrow; no block goes.
        refit: crops to refit the layers on after every step (`edgeface.pruning.reconstruct`); None: as they were cut.
        progress: called with a name as each group and block is measured, and as each part is refitted.

    Raises:
        InputError: method or target out of range, or a profile of another network.
    """
    height, width = source.model.spec.input_size
    size = InputSpec(height=height, width=width)
    batch = torch.from_numpy(to_batch(faces, size))
    how: dict[str, Any] = {"method": method, "round_to": round_to, "keep_blocks": keep_blocks}
    seen = None if refit is None else torch.from_numpy(to_batch(refit, size))
    way = halfway(source.model, profile, target_ms, batch, refit=seen, progress=progress, **how)
    pruned = prune_to_latency(way.model, profile, target_ms, way.losses, origin=way.origin, **how)
    if seen is not None:
        pruned.refit(source.model, seen, progress)
        source_of_faces += f", refitted on {len(seen)} faces"
    save_pruned(out, source, pruned, profile, source_of_faces)
    return pruned.report


def save_pruned(
    out: Path, source: Checkpoint, pruned: LatencyPruned, profile: DeviceProfile, source_of_faces: str
) -> None:
    """Write the checkpoint of a pruned network."""
    report, meta, on = pruned.report, source.meta, profile.conditions
    ratio = round(1 - (1 - meta.ratio_achieved) * (1 - report.achieved_ratio), 6)
    blocks = f", without {' '.join(report.blocks_removed)}" if report.blocks_removed else ""
    clock = ", CPU clock" if profile.clock == "cpu" else ""
    line = (
        f"pruned: to {report.target_ms:.4g} ms ({report.predicted_ms:.4g} predicted, {on.backend} on {on.device}, "
        f"{on.precision}, batch {on.batch}{clock}), ratio {report.achieved_ratio:.4f}{blocks}, {report.method}, "
        f"losses on {source_of_faces}"
    )
    changes = {"stage": "pruned", "ratio_requested": ratio, "ratio_achieved": ratio}
    save_checkpoint(out, pruned.model, meta.step(line, **changes))
