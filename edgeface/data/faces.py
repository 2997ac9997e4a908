"""Face crops as arrays: every picture is decoded once, and kept in memory when all of them fit a stated limit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeface.data.align_command import align_command
from edgeface.data.align_template import check_template
from edgeface.data.folders import FaceFolder, Skipped
from edgeface.data.landmarks import Landmarks, load_landmarks
from edgeface.data.template import Points
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import read_image

__all__ = ["FACE_BYTES", "Faces", "OtherSizeError", "load_faces", "read_crop"]

FACE_BYTES = CROP_SIZE[0] * CROP_SIZE[1] * 3
"""Memory one decoded 112x96 face takes."""

Progress = Callable[[int, int], None]


class Faces:
    """The pictures of a `FaceFolder`, by index."""

    def __init__(
        self,
        folder: FaceFolder,
        pixels: NDArray[np.uint8] | None,
        size: tuple[int, int] = CROP_SIZE,
        landmarks: Landmarks | None = None,
    ) -> None:
        self.folder = folder
        self.pixels = pixels
        """(N, H, W, 3) uint8 BGR, or None: read from disk each time."""
        self.size = size
        """Height, width in pixels."""
        self.landmarks = landmarks
        """None: the folder has no landmarks.json; the template's hold."""
        self.labels = np.array([label for _, label in folder.samples], dtype=np.int64)
        self._shared: torch.Tensor | None = None

    @property
    def digest(self) -> str:
        """Hex SHA-256 over names and sizes of the pictures, and the landmarks if there are any."""
        if self.landmarks is None:
            return self.folder.digest
        return hashlib.sha256(f"{self.folder.digest} {self.landmarks.digest}".encode()).hexdigest()

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
        """(H, W, 3) uint8 BGR; not to be written to."""
        if self.pixels is not None:
            return np.asarray(self.pixels[index], np.uint8)
        return read_crop(self.folder.samples[index][0], self.size)


class OtherSizeError(InputError):
    """A picture that is no crop of the network's size."""

    def __init__(
        self, path: Path, found: tuple[int, int], size: tuple[int, int], template: Points | None = None
    ) -> None:
        words = "an aligned crop" if size == CROP_SIZE or template is not None else "a crop"
        super().__init__(
            f"{path} is {found[1]}x{found[0]}, not {words} of {size[1]} wide, {size[0]} high: "
            f"run `{align_command(size, template=template)}` first"
        )
        self.reason = f"{found[1]}x{found[0]}, not {size[1]} wide, {size[0]} high"


def load_faces(
    folder: FaceFolder,
    memory_mib: int = 4096,
    progress: Progress | None = None,
    size: tuple[int, int] = CROP_SIZE,
) -> Faces:
    """Decode every picture once; undecodable ones and those that are not of `size` (height, width) are left out and
    listed in the result's `folder.skipped`.

    The decoded faces stay in memory if they take at most `memory_mib` MiB (31.5 KiB each, 4096 MiB: 133,152 faces);
    else they are read again from disk whenever needed.

    Raises:
        InputError: no picture is of that size, fewer than two people remain, or landmarks.json is damaged.
    """
    total = len(folder.samples)
    keep = total * size[0] * size[1] * 3 <= memory_mib << 20
    pixels = np.empty((total, *size, 3), np.uint8) if keep else None
    bad: list[Skipped] = []
    other: list[OtherSizeError] = []
    usable = np.ones(total, bool)
    for index, result in enumerate(_decode([path for path, _ in folder.samples], size)):
        if isinstance(result, InputError):
            path = folder.samples[index][0]
            if isinstance(result, OtherSizeError):
                other.append(result)
            bad.append(Skipped(path, result.reason if isinstance(result, OtherSizeError) else str(result)))
            usable[index] = False
        elif pixels is not None:
            pixels[index] = result
        if progress is not None:
            progress(index + 1, total)
    if other and len(bad) == total:
        raise other[0]
    if bad:
        folder = folder.without(bad)
        pixels = None if pixels is None else pixels[usable]
    return Faces(folder, pixels, size, load_landmarks(folder, size))


def _decode(paths: list[Path], size: tuple[int, int]) -> Iterator[NDArray[np.uint8] | InputError]:
    """Pictures in order, a few hundred ahead at most; OpenCV decodes without holding the interpreter."""
    pending = iter(paths)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while part := list(islice(pending, 256)):
            yield from pool.map(_try_read, part, repeat(size))


def _try_read(path: Path, size: tuple[int, int]) -> NDArray[np.uint8] | InputError:
    try:
        return read_crop(path, size)
    except (ImageError, OtherSizeError) as exc:
        return exc


def read_crop(path: Path, size: tuple[int, int] = CROP_SIZE, template: Points | None = None) -> NDArray[np.uint8]:
    """One face crop: (H, W, 3) uint8 BGR of `size` (height, width); `template` is what it was aligned onto.

    Raises:
        ImageError: it cannot be read.
        OtherSizeError: it is of another size (an InputError).
        InputError: its folder was aligned onto another template.
    """
    image = read_image(path)
    if image.shape[:2] != size:
        raise OtherSizeError(path, (image.shape[0], image.shape[1]), size, template)
    if template is not None:
        check_template(path, size, template)
    return image
