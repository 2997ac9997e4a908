"""Faces to judge on: person by person, by a pairs file, and none of them calibrated on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.data.align_template import _aligned_onto
from edgeface.data.judged import calibration_faces, judged_faces
from edgeface.data.template import read_template
from edgeface.evaluation.pictures import Pictures
from edgeface_runtime.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people") / "set"
    rng = np.random.default_rng(0)
    for person in range(5):
        (root / f"p{person}").mkdir(parents=True)
        for number in range(1, 13):
            crop = rng.integers(0, 255, (112, 96, 3), np.uint8)
            cv2.imwrite(str(root / f"p{person}" / f"p{person}_{number:04d}.png"), crop)
    return root


def test_drawn_person_by_person_so_that_there_are_genuine_pairs(folder: Path) -> None:
    judged = judged_faces(folder, 16)
    assert judged.crops.shape == (16, 112, 96, 3) and judged.source == "faces of set"
    people = [path.parent.name for path in judged.paths]
    assert len(set(people[:8])) == 1 and len(set(people[8:])) == 1 and people[0] != people[8]
    assert judged.pairs is not None and int(judged.pairs.genuine.sum()) == 2 * 28
    first = cv2.imread(str(judged.paths[3]))
    np.testing.assert_array_equal(judged.crops[3], first)
    assert judged_faces(folder, 16).paths == judged.paths


def test_half_is_left_to_calibrate_on(folder: Path) -> None:
    judged = judged_faces(folder)
    assert len(judged.crops) == 30
    others = calibration_faces(folder, 100, judged)
    assert len(others.crops) == 30
    seen = {crop.tobytes() for crop in judged.crops}
    assert not seen & {crop.tobytes() for crop in others.crops}


def test_people_not_judged_on_come_first(folder: Path) -> None:
    judged = judged_faces(folder, 16)
    others = calibration_faces(folder, 36, judged)
    strangers = {
        cv2.imread(str(path)).tobytes()
        for path in folder.rglob("*.png")
        if path.parent not in {used.parent for used in judged.paths}
    }
    assert {crop.tobytes() for crop in others.crops} == strangers


def test_a_pairs_file(folder: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("p0\t1\t2\np0\t1\tp1\t3\np0\t1\t99\n")
    judged = judged_faces(folder, pairs=pairs)
    assert [path.name for path in judged.paths] == ["p0_0001.png", "p0_0002.png", "p1_0003.png"]
    assert judged.pairs is not None
    assert judged.pairs.first.tolist() == [0, 0] and judged.pairs.second.tolist() == [1, 2]
    assert judged.pairs.genuine.tolist() == [True, False] and "2 of 3 pairs of pairs.txt" in judged.pairs.source


def test_procedural_faces_have_no_pairs() -> None:
    judged = judged_faces(None, 3, size=(112, 112))
    assert judged.crops.shape == (3, 112, 112, 3) and judged.pairs is None and judged.source == "procedural faces"


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--count must be at least 1"):
        judged_faces(folder, 0)
    with pytest.raises(InputError, match="--pairs needs --faces"):
        judged_faces(None, pairs=tmp_path / "pairs.txt")
    with pytest.raises(InputError, match="--count and --pairs"):
        judged_faces(folder, 3, tmp_path / "pairs.txt")
    with pytest.raises(InputError, match="none are left to calibrate"):
        calibration_faces(folder, 4, judged_faces(folder, 60))
    with pytest.raises(InputError, match="--calibration must be at least 1"):
        calibration_faces(folder, 0, judged_faces(folder, 6))


def test_crops_aligned_onto_another_template_are_refused(tmp_path: Path) -> None:
    size, ours = (128, 128), read_template("edgeface", (128, 128))
    root = tmp_path / "set"
    for number in range(4):
        person = root / f"p{number // 2}"
        person.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(person / f"{number}.png"), np.full((*size, 3), 40 * number, np.uint8))
    arcface = read_template("arcface", size)
    assert len(judged_faces(root, 2, size=size, template=arcface).crops) == 2  # nobody said what they are
    (root / "align.json").write_text(json.dumps({"format": "edgeface-align", "template": ours, "pictures": []}))
    _aligned_onto.cache_clear()
    assert len(judged_faces(root, 2, size=size, template=ours).crops) == 2
    words = "another template than this network's: .*data align PHOTOS CROPS --size 128x128 --template arcface"
    with pytest.raises(InputError, match=words):
        judged_faces(root, 2, size=size, template=arcface)
    with Pictures(root, size, arcface) as pictures, pytest.raises(InputError, match=words):
        pictures.read(root / "p0" / "0.png")
    (root / "align.json").write_text("{")
    _aligned_onto.cache_clear()
    assert len(judged_faces(root, 2, size=size, template=arcface).crops) == 2
