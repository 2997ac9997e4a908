"""Templates by name and from files, and the command that makes crops for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeface.data.align_command import align_command
from edgeface.data.sample import sample_faces, sample_people
from edgeface.data.synthetic import synth_face, write_synthetic
from edgeface.data.template import read_template
from edgeface_runtime.align import TEMPLATE, arcface_template
from edgeface_runtime.errors import InputError

OWN = [[30, 40], [80, 40], [55, 70], [35, 95], [75, 95]]


def test_by_name() -> None:
    np.testing.assert_allclose(read_template(None, (112, 96)), TEMPLATE)
    np.testing.assert_allclose(read_template(None, (112, 112)), TEMPLATE + np.array((8, 0)))
    np.testing.assert_allclose(read_template("arcface", (224, 224)), (TEMPLATE + np.array((8, 0))) * 2)
    np.testing.assert_allclose(read_template("edgeface", (112, 192)), TEMPLATE * (2, 1))
    with pytest.raises(InputError, match="arcface is for square crops, not 112x96"):
        read_template("arcface", (112, 96))


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text(json.dumps(OWN))
    assert read_template(str(path), (112, 112)) == tuple((float(x), float(y)) for x, y in OWN)
    for text, words in (
        ("{", "is not JSON"),
        ("[[1, 2]]", "five different points"),
        (json.dumps([[5, 5]] * 5), "five different points"),
        (json.dumps([[30, 40], [80, 40], [55, 70], [35, 95], [75, 140]]), "inside a crop of 112 wide, 112 high"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_template(str(path), (112, 112))
    with pytest.raises(InputError, match="takes edgeface, arcface or a JSON file"):
        read_template("insightface", (112, 112))


def test_the_command_that_makes_the_crops() -> None:
    arcface = tuple((float(x), float(y)) for x, y in arcface_template(128))
    assert align_command((112, 96)) == "edgeface data align"
    assert align_command((112, 96), template=read_template(None, (112, 96))) == "edgeface data align"
    assert (
        align_command((112, 112), "P C", read_template(None, (112, 112))) == "edgeface data align P C --size 112x112"
    )
    assert align_command((128, 128), template=arcface) == "edgeface data align --size 128x128 --template arcface"
    own = tuple((float(x), float(y)) for x, y in OWN)
    assert "--size 112x112 --template FILE" in align_command((112, 112), template=own)
    assert align_command((128, 96), "P C") == "edgeface data align P C --crop box --size 128x96"


def test_procedural_faces_lie_on_the_template() -> None:
    """ArcFace's crop of one of our crops is that crop, with nothing known beside it."""
    crops = sample_faces(None, 2, size=(112, 112), template=read_template(None, (112, 112))).crops
    assert np.abs(crops[1][:, 8:104].astype(int) - synth_face(1, 0, 0)).max() <= 1
    assert not crops[:, :, :7].any()


def test_people_with_several_pictures_are_drawn(tmp_path: Path) -> None:
    write_synthetic(tmp_path, 5, 4)
    found = sample_people(tmp_path)
    assert found is not None and found.crops.shape == (15, 112, 96, 3)
    assert np.bincount(np.unique(found.labels, return_inverse=True)[1]).tolist() == [3] * 5
    same = sample_people(tmp_path)
    assert same is not None and np.array_equal(same.crops, found.crops)
    for person in list(tmp_path.iterdir())[1:]:
        for picture in sorted(person.iterdir())[1:]:
            picture.unlink()
    assert sample_people(tmp_path) is None, "one person with several pictures makes no impostor pair of them"
