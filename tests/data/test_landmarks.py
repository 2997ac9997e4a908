"""Landmarks of box crops: read, checked and counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeface.data.faces import load_faces
from edgeface.data.folders import FaceFolder, scan
from edgeface.data.landmarks import load_landmarks
from edgeface.data.synthetic import write_synthetic
from edgeface_runtime.align import TEMPLATE, template_for
from edgeface_runtime.errors import InputError

SIZE = (112, 96)


@pytest.fixture
def folder(tmp_path: Path) -> FaceFolder:
    write_synthetic(tmp_path / "people", 2, 2)
    return scan(tmp_path / "people")


def write(folder: FaceFolder, values: list[object]) -> list[str]:
    names = [path.relative_to(folder.root).as_posix() for path, _ in folder.samples]
    (folder.root / "landmarks.json").write_text(json.dumps(dict(zip(names, values, strict=False))))
    return names


def test_without_a_file_the_template_holds(folder: FaceFolder) -> None:
    assert load_landmarks(folder, SIZE) is None
    assert template_for((112, 96)) is TEMPLATE
    assert template_for((128, 96))[:, 1] == pytest.approx(TEMPLATE[:, 1] * 128 / 112)
    faces = load_faces(folder)
    assert faces.landmarks is None and faces.digest == folder.digest


def test_points_come_in_the_order_of_the_samples(folder: FaceFolder) -> None:
    write(folder, [(TEMPLATE + shift).tolist() for shift in range(4)])
    faces = load_faces(folder)
    assert faces.landmarks is not None and faces.landmarks.notes == ()
    assert np.allclose(faces.landmarks.points[:, 0, 0], TEMPLATE[0, 0] + np.arange(4))
    assert faces.digest != folder.digest, "with other landmarks it is another training"


def test_what_is_wrong_is_counted(folder: FaceFolder) -> None:
    """One outside the crop, one in a single point, one that is not named: they get the mean of the one left."""
    points = (TEMPLATE + 1).tolist()
    names = write(folder, [[[200, 5], *points[1:]], [[3, 3]] * 5, points])
    found = load_landmarks(folder, SIZE)
    assert found is not None
    assert found.outside == tuple(names[:2]) and found.missing == (names[3],)
    assert np.allclose(found.points, TEMPLATE + 1)
    assert found.notes[0].startswith(f"1 pictures have no landmarks in landmarks.json, first {names[3]}")
    assert found.notes[1].startswith("2 pictures have landmarks outside the crop")


@pytest.mark.parametrize("text", ["{", "[]", '{"other/0.png": [[1, 2]]}'])
def test_damaged_files_are_one_line(folder: FaceFolder, text: str) -> None:
    (folder.root / "landmarks.json").write_text(text)
    with pytest.raises(InputError, match="data align --crop box") as caught:
        load_landmarks(folder, SIZE)
    assert "\n" not in str(caught.value)
