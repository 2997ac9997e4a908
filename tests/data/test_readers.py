"""Every reader on a small tree in its published layout, with what can be wrong in it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.data.readers import FORMATS, FaceSet, open_reader
from edgeface_runtime.errors import InputError


def picture(path: Path, height: int = 20, width: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = sum(path.name.encode()) % 200
    cv2.imwrite(str(path), np.full((height, width, 3), shade, np.uint8))
    return path


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def told(faces: FaceSet) -> dict[str, tuple[str, str, str, str]]:
    found = {
        s.source.relative_to(faces.root).as_posix(): (s.identity, s.role, s.condition, s.note) for s in faces.samples
    }
    assert len(found) == len(faces.samples)
    assert all(faces.image(sample).ndim == 3 for sample in faces.samples)
    return found


def left_out(faces: FaceSet) -> dict[str, str]:
    assert len({entry.name for entry in faces.skipped}) == len(faces.skipped)
    return {entry.name: entry.reason for entry in faces.skipped}


def test_identity_folders(tmp_path: Path) -> None:
    for name in ("0000045/001.jpg", "0000045/002.jpg", "0000099/more/001.png"):
        picture(tmp_path / name)
    text(tmp_path / "0000099" / "bad.jpg", "no picture")
    text(tmp_path / "0000099" / "empty.png", "")
    text(tmp_path / "0000099" / "a.gif", "GIF89a")
    text(tmp_path / "0000099" / "list.txt", "passed over")
    (tmp_path / "0000100").mkdir()
    faces = open_reader(tmp_path)
    assert faces.format == "folders" and faces.identities == ("0000045", "0000099")
    assert [sample.name for sample in faces.samples] == ["001.jpg", "002.jpg", "more_001.png"]
    assert set(left_out(faces)) == {"0000099/bad.jpg", "0000099/empty.png", "0000099/a.gif", "0000100"}
    folder = faces.as_folder()
    assert folder.identities == faces.identities and [label for _, label in folder.samples] == [0, 0, 1]
    assert len(folder.skipped) == 4


def test_lfw(tmp_path: Path) -> None:
    for name, number in (("Ann_Lee", 1), ("Ann_Lee", 2), ("Bo", 1), ("Cy_Jr", 1)):
        picture(tmp_path / "lfw-deepfunneled" / name / f"{name}_{number:04d}.jpg")
    text(tmp_path / "pairs.txt", "1\t2\nAnn_Lee\t1\t2\nBo\t1\t3\nAnn_Lee\t1\tBo\t1\nBo\t1\tCy_Jr\t4\n")
    text(tmp_path / "peopleDevTrain.txt", "2\nAnn_Lee\t2\nBo\t2\n")
    text(tmp_path / "peopleDevTest.txt", "1\nCy_Jr\t1\nGone\t1\n")
    faces = open_reader(tmp_path)
    assert faces.format == "lfw" and faces.roles == {"train": 3, "test": 1}
    assert told(faces)["lfw-deepfunneled/Bo/Bo_0001.jpg"] == ("Bo", "train", "clean", "")
    assert [(pair.genuine, pair.identities) for pair in faces.pairs] == [
        (True, ("Ann_Lee", "Ann_Lee")),
        (False, ("Ann_Lee", "Bo")),
    ]
    assert left_out(faces) == {
        "pairs.txt line 3": "names Bo/Bo_0003.jpg, which is not there",
        "pairs.txt line 5": "names Cy_Jr/Cy_Jr_0004.jpg, which is not there",
        "peopleDevTrain.txt line 3": "Bo should have 2 pictures, 1 are usable",
        "peopleDevTest.txt line 3": "Gone should have 1 pictures, 0 are usable",
    }


def test_lfw_with_a_broken_pairs_file(tmp_path: Path) -> None:
    picture(tmp_path / "Ann" / "Ann_0001.jpg")
    text(tmp_path / "pairs.txt", "10\t300\nAnn\t1\t2\n")
    faces = open_reader(tmp_path)
    assert faces.format == "lfw" and not faces.pairs
    assert "promises 6000 pairs" in left_out(faces)["pairs.txt"]


def test_rmfd(tmp_path: Path) -> None:
    root = tmp_path / "self-built-masked-face-recognition-dataset"
    picture(root / "AFDB_masked_face_dataset" / "anan" / "0_0_0.jpg")
    picture(root / "AFDB_masked_face_dataset" / "bobo" / "0_0_1.jpg")
    nested = root / "AFDB_face_dataset" / "AFDB_face_dataset"
    picture(nested / "anan" / "1_0_anan_0001.jpg")
    (nested / "empty").mkdir()
    faces = open_reader(tmp_path)
    assert faces.format == "rmfd" and faces.roles == {"gallery": 1, "probe": 2}
    table = told(faces)
    assert table[f"{root.name}/AFDB_masked_face_dataset/bobo/0_0_1.jpg"] == ("bobo", "probe", "mask", "")
    assert table[f"{root.name}/AFDB_face_dataset/AFDB_face_dataset/anan/1_0_anan_0001.jpg"][1:3] == (
        "gallery",
        "clean",
    )
    assert left_out(faces) == {
        "AFDB_face_dataset/AFDB_face_dataset/empty": "a person's folder without a usable picture"
    }
    assert faces.notes == ("1 people are both in AFDB_masked_face_dataset and in AFDB_face_dataset",)
    with pytest.raises(InputError, match="has 1 people in gallery"):
        faces.as_folder(["gallery"])


def test_rmfd_with_simulated_masks(tmp_path: Path) -> None:
    picture(tmp_path / "lfw_train" / "Ann" / "Ann_0001.jpg")
    picture(tmp_path / "lfw_test" / "Bo" / "Bo_0001.jpg")
    faces = open_reader(tmp_path)
    assert faces.format == "rmfd-simulated" and faces.roles == {"test": 1, "train": 1}
    assert told(faces)["lfw_test/Bo/Bo_0001.jpg"] == ("Bo", "test", "mask", "lfw_test")
    picture(tmp_path / "other" / "simulation_dataset" / "AFDB_x" / "anan" / "1.jpg")
    assert told(open_reader(tmp_path / "other")) == {
        "simulation_dataset/AFDB_x/anan/1.jpg": ("anan", "", "mask", "AFDB_x")
    }


def test_ar(tmp_path: Path) -> None:
    for name in ("m-001-01.bmp", "M-001-08.bmp", "m-001-26.bmp", "sub/w-012-1.bmp", "w-012-11.bmp", "f-3-17.bmp"):
        picture(tmp_path / name)
    for name in ("m-001-27.bmp", "m-001-1.png", "group.bmp"):
        picture(tmp_path / name)
    text(tmp_path / "m-001-02.raw", "raw")
    faces = open_reader(tmp_path)
    assert faces.format == "ar"
    assert told(faces) == {
        "m-001-01.bmp": ("m-001", "gallery", "clean", "neutral, session 1"),
        "M-001-08.bmp": ("m-001", "probe", "sunglasses", "session 1"),
        "m-001-26.bmp": ("m-001", "probe", "scarf", "right light, session 2"),
        "sub/w-012-1.bmp": ("w-012", "gallery", "clean", "neutral, session 1"),
        "w-012-11.bmp": ("w-012", "probe", "scarf", "session 1"),
        "f-3-17.bmp": ("f-003", "probe", "clean", "scream, session 2"),
    }
    assert [sample.name for sample in faces.samples if sample.identity == "f-003"] == ["f-003-17.bmp"]
    assert set(left_out(faces)) == {"m-001-27.bmp", "m-001-1.png", "group.bmp", "m-001-02.raw"}
    assert left_out(faces)["m-001-1.png"] == "the same person and number as m-001-01.bmp"
    assert faces.notes == ("1 people lack picture 01, so the gallery lacks them",)


def megaface(folder: Path) -> None:
    for name in ("Al_Bo/Al_Bo_1.png", "Al_Bo/Al_Bo_2.png", "Cy/Cy_1.jpg"):
        picture(folder / "facescrub_images" / name)
    for name in ("121/12105541@N05/4811548600_1.jpg", "121/12105541@N05/9_0.jpg", "001/001a02.JPG"):
        picture(folder / "data" / "FlickrFinal2" / name)
    text(folder / "data" / "FlickrFinal2" / "001" / "001a02.JPG.json", "{}")


def test_megaface_without_lists(tmp_path: Path) -> None:
    megaface(tmp_path)
    faces = open_reader(tmp_path)
    assert faces.format == "megaface" and faces.roles == {"distractor": 3, "probe": 3} and not faces.skipped
    table = told(faces)
    assert table["data/FlickrFinal2/121/12105541@N05/9_0.jpg"] == ("121_12105541@N05", "distractor", "", "")
    assert table["data/FlickrFinal2/001/001a02.JPG"][0] == "001"
    assert table["facescrub_images/Cy/Cy_1.jpg"][:2] == ("Cy", "probe")
    assert len(faces.notes) == 2


def test_megaface_by_its_lists(tmp_path: Path) -> None:
    megaface(tmp_path)
    lists = tmp_path / "devkit" / "templatelists"
    probes = {"path": ["Al_Bo/Al_Bo_1.jpg", "Cy/Cy_1.jpg", "Cy/Cy_9.jpg"], "id": ["Al Bo", "../up", "Cy"]}
    text(lists / "facescrub_features_list.json", json.dumps(probes))
    text(lists / "megaface_features_list.json_1_1", json.dumps({"path": ["001/001a02.JPG"]}))
    many = ["121/12105541@N05/9_0.jpg", "121/12105541@N05/9_0.jpg", "001/001a02.JPG"]
    text(lists / "megaface_features_list.json_10_1", json.dumps({"path": many}))
    faces = open_reader(tmp_path)
    assert {(s.identity, s.name, s.role) for s in faces.samples} == {
        ("Al Bo", "Al_Bo_1.png", "probe"),
        ("Cy", "Cy_1.jpg", "probe"),
        ("121_12105541@N05", "9_0.jpg", "distractor"),
        ("001", "001a02.JPG", "distractor"),
    }
    assert left_out(faces) == {
        "facescrub_features_list.json entry 2": "names Cy/Cy_9.jpg, which is not there or unusable",
        "megaface_features_list.json_10_1 entry 1": "names 121/12105541@N05/9_0.jpg again",
    }
    text(lists / "facescrub_features_list.json", json.dumps({"path": ["a"], "id": []}))
    with pytest.raises(InputError, match="no feature list"):
        open_reader(tmp_path)
    text(lists / "facescrub_features_list.json", "{")
    with pytest.raises(InputError, match="damaged"):
        open_reader(tmp_path)


def test_rmf2_by_labels(tmp_path: Path) -> None:
    root = tmp_path / "mfr2"
    for number in (1, 2, 3):
        picture(root / "Ann" / f"Ann_{number:04d}.png")
    picture(root / "Bo" / "Bo_0001.png")
    text(root / "mfr2_labels.txt", "Ann, 1, surgical_blue\nAnn, 2, no-mask\nBo, 1, cloth\nBo, 2, cloth\nbad line\n")
    text(root / "pairs.txt", "1\t1\nAnn\t1\t2\nAnn\t1\tBo\t1\n")
    faces = open_reader(root)
    assert faces.format == "rmf2" and len(faces.pairs) == 2
    assert told(faces) == {
        "Ann/Ann_0001.png": ("Ann", "probe", "mask", "surgical_blue"),
        "Ann/Ann_0002.png": ("Ann", "gallery", "clean", ""),
        "Ann/Ann_0003.png": ("Ann", "", "", ""),
        "Bo/Bo_0001.png": ("Bo", "probe", "mask", "cloth"),
    }
    assert left_out(faces) == {
        "mfr2_labels.txt line 5": "not 'name, number, mask': 'bad line'",
        "mfr2_labels.txt line 4": "names Bo 2, which is not there or unusable",
    }
    assert faces.notes == ("1 pictures are not labelled masked or bare: they have no role",)


@pytest.mark.parametrize(
    "names", [("masked/ann/1.jpg", "unmasked/ann/1.jpg"), ("ann/masked/1.jpg", "ann/unmasked/1.jpg")]
)
def test_rmf2_by_folders(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        picture(tmp_path / name)
    faces = open_reader(tmp_path)
    assert faces.format == "rmf2"
    assert told(faces) == {names[0]: ("ann", "probe", "mask", ""), names[1]: ("ann", "gallery", "clean", "")}


def test_aligned_crops_are_told_by_their_size(tmp_path: Path) -> None:
    for person in ("ann", "bo"):
        picture(tmp_path / person / "1.jpg", 112, 96)
    assert open_reader(tmp_path).crop_size == (112, 96)
    picture(tmp_path / "ann" / "0.jpg", 112, 112)
    assert open_reader(tmp_path).crop_size is None


def test_unknown_layouts_list_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        open_reader(tmp_path / "gone")
    with pytest.raises(InputError) as told_all:
        open_reader(tmp_path)
    assert all(name in str(told_all.value) for name in FORMATS) and "\n" not in str(told_all.value)
    with pytest.raises(InputError, match="unknown format 'x': known are casia-rec, rmfd"):
        open_reader(tmp_path, "x")
    for name in FORMATS:
        with pytest.raises(InputError):
            open_reader(tmp_path, name)
    text(tmp_path / "file.bin", "x")
    with pytest.raises(InputError, match="no known layout"):
        open_reader(tmp_path / "file.bin")
