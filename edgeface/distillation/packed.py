"""Faces packed into one file: the pictures' own bytes one behind the other, quick to carry and to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgeface.models.tensor_file import read_header, read_tensors, write_tensors
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import ArtefactError, ImageError

__all__ = ["pack_faces", "read_packed"]

FORMAT, VERSION = "edgeface-faces", "1"


def pack_faces(root: Path, names: Sequence[str], out: Path) -> None:
    """Write the pictures `names` below `root`, unchanged, to `out` atomically.

    Raises:
        InputError: `out` cannot be written.
    """
    data = [(root / name).read_bytes() for name in names]
    tensors = {
        "bytes": torch.from_numpy(np.frombuffer(b"".join(data), np.uint8).copy()),
        "ends": torch.tensor(np.cumsum([len(entry) for entry in data]), dtype=torch.int64),
    }
    write_tensors(out, tensors, {"format": FORMAT, "version": VERSION, "names": json.dumps(list(names))})


def read_packed(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """(N, 112, 96, 3) uint8 BGR and the pictures' names.

    Raises:
        InputError: the file is missing.
        ArtefactError: it is no such file, or damaged.
        ImageError: a picture in it cannot be read or is no aligned crop.
    """
    header = read_header(path, "file of packed faces")
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise ArtefactError(f"{path} is not a file of packed faces this version reads")
    tensors, names = read_tensors(path), tuple(json.loads(header["names"]))
    whole, ends = tensors["bytes"].numpy(), tensors["ends"].numpy()
    if len(ends) != len(names) or not len(ends) or ends[-1] != len(whole):
        raise ArtefactError(f"{path}: its pictures do not end where it says: the file is damaged")
    starts = np.concatenate([[0], ends[:-1]])

    def decode(index: int) -> NDArray[np.uint8]:
        picture = cv2.imdecode(whole[starts[index] : ends[index]], cv2.IMREAD_COLOR)
        if picture is None or picture.shape[:2] != CROP_SIZE:
            raise ImageError(f"{path}: {names[index]} is no readable 96x112 crop")
        return np.asarray(picture, np.uint8)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(decode, range(len(names))))), names
