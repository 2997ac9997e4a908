"""Batches of prepared samples, in the training process or in others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = ["sample_loader"]


def sample_loader(
    samples: Dataset[Any],
    sampler: Sampler[Any],
    collate: Callable[[list[Any]], Any],
    workers: int,
    *,
    pinned: bool = False,
) -> DataLoader[Any]:
    """The batches `sampler` names, prepared by `workers` processes; 0: by this one."""
    return DataLoader(
        samples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        # Not forked: a copy of a process whose OpenMP or OpenCV threads have run hangs sooner or later.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_quiet_worker if workers else None,
        generator=torch.Generator(),
        pin_memory=pinned,
        persistent_workers=workers > 0,
    )


def _quiet_worker(_: int) -> None:
    """One thread per sample process: OpenCV's own would only compete."""
    cv2.setNumThreads(1)
