"""Faces that a network is judged on before it is pruned, and others that it is refitted on afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeface.data.sample import FaceSample

__all__ = ["judged_and_refit"]


def judged_and_refit(
    data: Path | None, judged: int | None, refit: int, size: tuple[int, int]
) -> tuple[FaceSample | None, FaceSample | None]:
    """Two samples that share no picture; None for one that is not wanted.

    Args:
        judged: --faces, or None.
        refit: --reconstruct, or 0.

    Raises:
        InputError: too few of either.
    """
    from edgeface.data.sample import FaceSample, sample_faces
    from edgeface.pruning.reconstruct import FEWEST
    from edgeface_runtime.errors import InputError

    if judged is not None and judged < 1:
        raise InputError(f"--faces must be at least 1, got {judged}")
    first = judged or 0
    if not first + refit:
        return None, None
    sample = sample_faces(data, first + refit, size=size)
    left = len(sample.crops) - first
    if refit and left < FEWEST:
        besides = f" besides the {first} of --faces" if first else ""
        raise InputError(
            f"--reconstruct needs {FEWEST} faces{besides}: {data} has {len(sample.crops)} in all; "
            "give more" + (", or fewer --faces" if first else "")
        )
    return (
        FaceSample(sample.crops[:first], sample.source) if first else None,
        FaceSample(sample.crops[first:], sample.source) if refit else None,
    )
