"""Aligned faces as arrays: every picture is decoded once, and kept in memory when all of them fit a stated limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeface.data.folders import FaceFolder, Skipped
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import read_image

__all__ = ["FACE_BYTES", "Faces", "load_faces", "read_crop"]

FACE_BYTES = CROP_SIZE[0] * CROP_SIZE[1] * 3
"""Memory one decoded face takes."""

Progress = Callable[[int, int], None]


class Faces:
    """The pictures of a `FaceFolder`, by index."""

    def __init__(self, folder: FaceFolder, pixels: NDArray[np.uint8] | None) -> None:
        self.folder = folder
        self.pixels = pixels
        """(N, 112, 96, 3) uint8 BGR, or None: read from disk each time."""
        self.labels = np.array([label for _, label in folder.samples], dtype=np.int64)
        self._shared: torch.Tensor | None = None

    def share(self) -> None:
        """Move the pixels to shared memory, so that processes started from here on read the one copy."""
        if self.pixels is not None and self._shared is None:
            self._shared = torch.from_numpy(self.pixels).share_memory_()  # type: ignore[no-untyped-call]
            self.pixels = self._shared.numpy()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pixels": self.pixels if self._shared is None else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._shared is not None:
            self.pixels = self._shared.numpy()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """(112, 96, 3) uint8 BGR; not to be written to."""
        if self.pixels is not None:
            return np.asarray(self.pixels[index], np.uint8)
        return read_crop(self.folder.samples[index][0])


def load_faces(folder: FaceFolder, memory_mib: int = 4096, progress: Progress | None = None) -> Faces:
    """Decode every picture once; undecodable ones are left out and listed in the result's `folder.skipped`.

    The decoded faces stay in memory if they take at most `memory_mib` MiB (31.5 KiB each, 4096 MiB: 133,152 faces);
    else they are read again from disk whenever needed.

    Raises:
        InputError: a picture is no 112x96 crop, or fewer than two people remain.
    """
    total = len(folder.samples)
    keep = total * FACE_BYTES <= memory_mib << 20
    pixels = np.empty((total, *CROP_SIZE, 3), np.uint8) if keep else None
    bad: list[Skipped] = []
    usable = np.ones(total, bool)
    for index, result in enumerate(_decode([path for path, _ in folder.samples])):
        if isinstance(result, ImageError):
            path = folder.samples[index][0]
            bad.append(Skipped(path, str(result)))
            usable[index] = False
        elif pixels is not None:
            pixels[index] = result
        if progress is not None:
            progress(index + 1, total)
    if bad:
        folder = folder.without(bad)
        pixels = None if pixels is None else pixels[usable]
    return Faces(folder, pixels)


def _decode(paths: list[Path]) -> Iterator[NDArray[np.uint8] | ImageError]:
    """Pictures in order, a few hundred ahead at most; OpenCV decodes without holding the interpreter."""
    pending = iter(paths)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while part := list(islice(pending, 256)):
            yield from pool.map(_try_read, part)


def _try_read(path: Path) -> NDArray[np.uint8] | ImageError:
    try:
        return read_crop(path)
    except ImageError as exc:
        return exc


def read_crop(path: Path) -> NDArray[np.uint8]:
    """One aligned face: (112, 96, 3) uint8 BGR.

    Raises:
        ImageError: it cannot be read.
        InputError: it is of another size.
    """
    image = read_image(path)
    if image.shape[:2] != CROP_SIZE:
        height, width = image.shape[:2]
        raise InputError(
            f"{path} is {width}x{height}, not an aligned crop of {CROP_SIZE[1]} wide, {CROP_SIZE[0]} high: "
            "run `edgeface data align` first"
        )
    return image
