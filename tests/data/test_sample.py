"""Faces to measure on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.data.sample import sample_faces
from edgeface_runtime.errors import InputError


def _people(folder: Path, shape: tuple[int, int] = (112, 96)) -> Path:
    for number in range(6):
        person = folder / f"p{number % 3}"
        person.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(person / f"{number}.png"), np.full((*shape, 3), number * 10, np.uint8))
    return folder


def test_a_sample_is_seeded_and_never_repeats_a_picture(tmp_path: Path) -> None:
    folder = _people(tmp_path / "faces")
    first, again, other = (sample_faces(folder, 4, seed).crops for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[:, 0, 0, 0])) == 4
    assert len(sample_faces(folder, 100).crops) == 6


def test_damaged_pictures_are_passed_over(tmp_path: Path) -> None:
    folder = _people(tmp_path / "faces")
    (folder / "p0" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    assert len(sample_faces(folder, 100).crops) == 5


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data align"):
        sample_faces(_people(tmp_path / "large", (200, 200)), 2)
    with pytest.raises(InputError, match="at least 1"):
        sample_faces(None, 0)


def test_other_sizes(tmp_path: Path) -> None:
    assert sample_faces(None, 2, size=(128, 96)).crops.shape == (2, 128, 96, 3)
    boxes = _people(tmp_path / "boxes", (128, 96))
    assert sample_faces(boxes, 3, size=(128, 96)).crops.shape == (3, 128, 96, 3)
    with pytest.raises(InputError, match="96x128, not an aligned crop"):
        sample_faces(boxes, 3)


def test_procedural_faces_differ() -> None:
    sample = sample_faces(None, 3)
    assert sample.source == "procedural faces"
    assert sample.crops.shape == (3, 112, 96, 3)
    assert not np.array_equal(sample.crops[0], sample.crops[1])
