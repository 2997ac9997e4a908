"""The paper's own order: a network is pruned before it is trained at all (Liu et al. 2023, stage 1).

L1 ranks of untrained weights mean little, so this is the control; the default is dense training, then pruning.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edgeface.models import ArchSpec, Checkpoint, CheckpointMeta, FaceNet
from edgeface.models.checkpoint import read_meta
from edgeface.pruning.run import prune_checkpoint
from edgeface_runtime.errors import InputError

__all__ = ["START_NAME", "prune_untrained"]

START_NAME = "start.safetensors"


def prune_untrained(
    spec: ArchSpec,
    ratio: float,
    out: Path,
    seed: int,
    faces: npt.NDArray[np.uint8],
    source_of_faces: str,
    *,
    keep: bool = False,
) -> Path:
    """Write the pruned, untrained network to `out / start.safetensors`; returns its path.

    Args:
        spec: the whole network; `seed` gives its weights.
        ratio: share of convolution filters to remove.
        faces: (N, 112, 96, 3) uint8 BGR for the sensitivity; `source_of_faces` names them.
        keep: take the file that is there (a run that is resumed started from it).

    Raises:
        InputError: the ratio is out of range, or the file that is there was pruned at another one.
    """
    path = out / START_NAME
    if keep and path.is_file():
        before = read_meta(path)[1].ratio_requested
        if abs(before - ratio) > 1e-6:
            raise InputError(
                f"{out} was begun with --prune-first {before:g}, now {ratio:g}: use the same, or another --out"
            )
        return path
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FaceNet(spec)
    new = Checkpoint(model.eval(), CheckpointMeta(seed=seed, history=(f"new {spec.name}, seed {seed}",)))
    prune_checkpoint(new, ratio, path, faces=faces, source_of_faces=source_of_faces)
    return path
