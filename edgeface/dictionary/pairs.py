"""Faces and trunk features of the training pairs: computed once, kept in memory as half floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeface.data.align_command import align_command
from edgeface.data.folders import FaceFolder, Skipped
from edgeface.dictionary.landmarks import Landmarks
from edgeface.models import FaceNet
from edgeface.training.step import to_input
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import read_image

__all__ = ["Chosen", "choose", "read_faces", "trunk_features"]

FORWARD_BATCH = 64
LARGEST_HALF = 60_000.0


def choose(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """An order of all samples in which any first n are of as many people as possible, else at random."""
    rng = np.random.default_rng([seed, 31])
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    seen: dict[int, int] = {}
    for index in order:
        label = int(labels[index])
        turn[index] = seen.get(label, 0)
        seen[label] = turn[index] + 1
    return np.asarray(order[np.argsort(turn[order], kind="stable")], np.int64)


@dataclass(frozen=True)
class Chosen:
    """The clean faces the pairs are made of."""

    crops: NDArray[np.uint8]
    """(N, H, W, 3) BGR."""
    labels: NDArray[np.int64]
    """(N,) index into the folder's identities."""
    names: tuple[str, ...]
    """Paths relative to the folder."""
    points: NDArray[np.float64] | None
    """(N, 5, 2) pixels of the crops, where known."""
    skipped: tuple[Skipped, ...]
    """Pictures that would have been taken but cannot be."""


def read_faces(
    folder: FaceFolder,
    count: int,
    seed: int,
    size: tuple[int, int],
    landmarks: Landmarks | None = None,
    need_landmarks: bool = False,
) -> Chosen:
    """`count` faces (fewer if there are no more), seeded, of as many people as possible.

    Args:
        size: height and width the crops must have, pixels.
        need_landmarks: leave out, and list, faces that `landmarks` has no points of.

    Raises:
        InputError: a picture of another size, or faces of fewer than two people.
    """
    labels = np.array([label for _, label in folder.samples], np.int64)
    crops, chosen, names, points = [], [], [], []
    skipped: list[Skipped] = []
    for index in choose(labels, seed):
        path, label = folder.samples[index]
        name = path.relative_to(folder.root).as_posix()
        own = landmarks.points.get(name) if landmarks else None
        if own is None and need_landmarks:
            skipped.append(Skipped(path, "no usable landmarks"))
            continue
        try:
            image = read_image(path)
        except ImageError as exc:
            skipped.append(Skipped(path, str(exc)))
            continue
        if image.shape[:2] != size:
            raise InputError(
                f"{path} is {image.shape[1]}x{image.shape[0]}, but the network takes {size[1]}x{size[0]}: "
                f"use crops of its size ({align_command(size)})"
            )
        crops.append(image)
        chosen.append(label)
        names.append(name)
        if own is not None:
            points.append(own)
        if len(crops) == count:
            break
    if len(set(chosen)) < 2:
        raise InputError(f"{folder.root} has usable faces of fewer than two people")
    known = np.stack(points) if len(points) == len(crops) else None
    return Chosen(np.stack(crops), np.array(chosen, np.int64), tuple(names), known, tuple(skipped))


@torch.no_grad()
def trunk_features(
    model: FaceNet,
    crops: NDArray[np.uint8],
    precision: str = "fp32",
    progress: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """The trunk's top map of every crop: (N, C, h, w) float16 on the CPU (float32 where half floats would overflow).

    Args:
        model: in evaluation mode, on any device.
        crops: (N, H, W, 3) uint8 BGR.
        precision: fp32, or bf16 for autocast.
        progress: called with the number of faces done since the last call.

    Raises:
        InputError: the trunk gives values that are not finite.
    """
    device = next(model.parameters()).device
    parts = []
    for part in _parts(crops):
        pixels = to_input(torch.from_numpy(np.ascontiguousarray(part)).to(device))
        order = torch.channels_last if precision == "bf16" else torch.contiguous_format
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            top = model.top_map(pixels.contiguous(memory_format=order)).float().contiguous()
        peak = float(top.abs().max())
        if not np.isfinite(peak):
            raise InputError("the network gives features that are not finite: train it again with a smaller --lr")
        parts.append((top if peak > LARGEST_HALF else top.half()).cpu())
        progress(len(part))
    wide = any(part.dtype == torch.float32 for part in parts)
    return torch.cat([part.float() for part in parts] if wide else parts)


def _parts(crops: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(crops), FORWARD_BATCH):
        yield crops[start : start + FORWARD_BATCH]
