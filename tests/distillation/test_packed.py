"""Faces in one file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.distillation import pack_faces, read_packed
from edgeface.models.tensor_file import write_tensors
from edgeface_runtime.errors import ArtefactError, ImageError, InputError


def test_pictures_come_back_as_they_are(people: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(people).as_posix() for path in people.glob("*/*.png"))
    pack_faces(people, names, tmp_path / "faces.safetensors")
    pixels, found = read_packed(tmp_path / "faces.safetensors")
    assert list(found) == names and pixels.shape == (24, 112, 96, 3)
    assert np.array_equal(pixels[7], cv2.imread(str(people / names[7])))


def test_other_files_are_refused(people: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="not a file of packed faces"):
        read_packed(teacher)
    with pytest.raises(InputError):
        read_packed(tmp_path / "missing.safetensors")
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((8, 8, 3), np.uint8))
    pack_faces(tmp_path, ["small.png"], tmp_path / "small.safetensors")
    with pytest.raises(ImageError, match=r"small\.png is no readable 96x112 crop"):
        read_packed(tmp_path / "small.safetensors")
    import torch

    tensors = {"bytes": torch.zeros(9, dtype=torch.uint8), "ends": torch.tensor([7])}
    header = {"format": "edgeface-faces", "version": "1", "names": '["a"]'}
    write_tensors(tmp_path / "cut.safetensors", tensors, header)
    with pytest.raises(ArtefactError, match="do not end where it says"):
        read_packed(tmp_path / "cut.safetensors")
