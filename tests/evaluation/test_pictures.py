"""Pictures of a test: sizes, landmarks, photographs, and what becomes of those that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.evaluation import Occlusion, evaluate_identify
from edgeface.evaluation.covered import evaluate_covered
from edgeface.evaluation.embedder import Embedder
from edgeface.evaluation.gallery_split import split_by_file, split_by_fractions, two_folders
from edgeface.evaluation.pictures import Failures, Pictures
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import FaceError, InputError

BOX = (128, 96)


def grey(path: Path, value: int, size: tuple[int, int] = (112, 96)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))
    return path


def angles(size: tuple[int, int] = (112, 96)) -> Embedder:
    """A grey value is an angle in degrees, as in conftest."""

    def run(faces: np.ndarray) -> np.ndarray:
        turned = np.radians(faces[:, 0, 0, 0].astype(float))
        return np.stack([np.cos(turned), np.sin(turned)], 1).astype(np.float32)

    return Embedder(run, {"backend": "told"}, size=size)


def test_size_of_the_network(tmp_path: Path) -> None:
    path = grey(tmp_path / "Ann" / "1.png", 7, BOX)
    assert Pictures(tmp_path, BOX).read(path).crop.shape == (128, 96, 3)
    with pytest.raises(InputError, match="96x128, not a crop of 96 wide, 112 high"):
        Pictures(tmp_path).read(path)
    aligned = grey(tmp_path / "Ann" / "2.png", 7)
    with pytest.raises(InputError, match=r"96x112, not a crop of 96 wide, 128 high: .* --crop box --size 128x96$"):
        Pictures(tmp_path, BOX).read(aligned)


def test_landmarks_of_box_crops_place_what_is_worn(tmp_path: Path) -> None:
    low, high = TEMPLATE + np.array((0, 14)), TEMPLATE - np.array((0, 20))
    names = {"Ann/1.png": low, "Ann/2.png": high, "Ann/4.png": low + np.array((0, 40))}
    for number in (1, 2, 3, 4):
        grey(tmp_path / "Ann" / f"{number}.png", 99, BOX)
    (tmp_path / "landmarks.json").write_text(json.dumps({name: points.tolist() for name, points in names.items()}))
    pictures = Pictures(tmp_path, BOX)
    cover = Occlusion("sunglasses")
    middle = []
    for name in ("Ann/1.png", "Ann/2.png"):
        shot = pictures.read(tmp_path / name, cover)
        assert shot.covered is not None and shot.landmarks is not None
        middle.append(np.argwhere(shot.covered)[:, 0].mean())
    assert middle[0] - middle[1] == pytest.approx(34, abs=6), "they sit where the eyes are"
    failed: Failures = {}
    usable = list(pictures.batches(sorted((tmp_path / "Ann").iterdir()), cover, failed))
    assert [shot.path.name for batch in usable for shot in batch] == ["1.png", "2.png"]
    assert "no landmarks" in failed[tmp_path / "Ann" / "3.png"]
    assert "landmark outside" in failed[tmp_path / "Ann" / "4.png"]
    assert pictures.read(tmp_path / "Ann" / "3.png", Occlusion("block", 0.2)).covered is not None, "fitted to nothing"


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": [[1, 2]]}', '{"a": 3}'])
def test_damaged_landmarks(tmp_path: Path, text: str) -> None:
    (tmp_path / "landmarks.json").write_text(text)
    with pytest.raises(InputError, match="write it again"):
        Pictures(tmp_path)


def test_pictures_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    for person, value in (("Ann", 10), ("Bob", 80)):
        for number in (1, 2, 3):
            grey(tmp_path / person / f"{number}.png", value + number)
    cut = tmp_path / "Ann" / "2.png"
    cut.write_bytes(cut.read_bytes()[:60])
    result = evaluate_identify(angles(), tmp_path)
    assert (result.probes, result.rank1) == (3, 1.0)
    assert list(result.failures) == ["Ann/2.png"]
    enrolled = tmp_path / "Bob" / "1.png"
    enrolled.write_bytes(enrolled.read_bytes()[:60])
    result = evaluate_identify(angles(), tmp_path)
    assert (result.people, result.probes, result.strangers) == (1, 1, 2), "nobody is compared with a missing face"


def test_two_folders(tmp_path: Path) -> None:
    """RMFD's identity folders: masked pictures are probes, unmasked ones the gallery."""
    for person, faces, masked in (("0001", (0, 40), (38,)), ("0002", (90, 100), (95, 60)), ("0003", (170,), ())):
        for number, value in enumerate(faces):
            grey(tmp_path / "AFDB_face_dataset" / person / f"{number}.png", value)
        for number, value in enumerate(masked):
            grey(tmp_path / "AFDB_masked_face_dataset" / person / f"{number}.png", value)
    grey(tmp_path / "AFDB_masked_face_dataset" / "0009" / "0.png", 5)
    split = two_folders(tmp_path / "AFDB_face_dataset", tmp_path / "AFDB_masked_face_dataset")
    result = evaluate_identify(angles(), split)
    # 38 is nearest 40 and 95 nearest 90 or 100; 60 is nearer 40 (20) than 90 (30): two of three.
    assert (result.rank1, result.rank5, result.people, result.gallery_pictures) == (pytest.approx(2 / 3), 1, 3, 5)
    assert (result.strangers, result.probes) == (1, 3)
    assert result.cmc == (pytest.approx(2 / 3, abs=1e-6), 1, 1)


def test_split_by_fractions_is_that_of_data_split(tmp_path: Path) -> None:
    from edgeface.data.split import split_folder

    for person in ("Ann", "Bob"):
        for number in range(10):
            grey(tmp_path / "all" / person / f"{number}.png", number)
    split = split_by_fractions(tmp_path / "all", (0.7, 0.15, 0.15), seed=3)
    split_folder(tmp_path / "all", tmp_path / "parts", (0.7, 0.15, 0.15), seed=3)
    for side, part in ((split.gallery, "train"), (split.probes, "test")):
        names = {path.relative_to(tmp_path / "all").as_posix() for path, _ in side}
        assert names == {
            path.relative_to(tmp_path / "parts" / part).as_posix()
            for path in (tmp_path / "parts" / part).rglob("*.png")
        }


def test_split_by_file(tmp_path: Path) -> None:
    for name in ("Ann/1.png", "Ann/2.png", "Bob/1.png"):
        grey(tmp_path / "all" / name, 5)
    file = tmp_path / "split.json"
    file.write_text(json.dumps({"gallery": ["Ann/1.png", "Bob/1.png"], "probes": ["Ann/2.png", "Bob/7.png"]}))
    split = split_by_file(tmp_path / "all", file)
    assert [person for _, person in split.gallery] == ["Ann", "Bob"]
    assert (len(split.probes), split.missing) == (1, ("Bob/7.png",))
    for data, words in (
        ({"gallery": ["../x/1.png"], "probes": []}, "is not person/file"),
        ({"gallery": ["Ann/1.png"], "probes": ["Ann/1.png"]}, "both gallery and probe"),
        ({"gallery": ["Ann/1.png"]}, "is not a split"),
        ({"gallery": ["Ann/9.png"], "probes": ["Ann/1.png"]}, "no gallery picture or no probe"),
    ):
        file.write_text(json.dumps(data))
        with pytest.raises(InputError, match=words):
            split_by_file(tmp_path / "all", file)


def test_photographs_are_aligned_and_counted(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's photograph: pip install 'edgeface[demo]'")
    photo = np.ascontiguousarray(data.astronaut()[..., ::-1])
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "face.png"), photo)
    grey(tmp_path / "a" / "wall.png", 120, (200, 200))
    (tmp_path / "a" / "cut.png").write_bytes((tmp_path / "a" / "face.png").read_bytes()[:1000])
    with Pictures(tmp_path, detect=True) as pictures:
        shot = pictures.read(tmp_path / "a" / "face.png")
        assert shot.crop.shape == (112, 96, 3) and shot.landmarks is not None
        assert np.abs(shot.landmarks - TEMPLATE).max() < 6, "aligned"
        with pytest.raises(FaceError, match="no face of 40 pixels"):
            pictures.read(tmp_path / "a" / "wall.png")
    with pytest.raises(InputError, match="--align makes aligned crops"):
        Pictures(tmp_path, BOX, detect=True)
    seen = evaluate_covered(tmp_path, {"half": lambda faces: np.full(len(faces), 0.5)})
    assert (seen.pictures, seen.detected, seen.detected_share) == (2, 1, 0.5)
    assert list(seen.unreadable) == ["a/cut.png"]
    assert seen.covered["half"].mean == 0.5 and set(seen.covered["half"].quantiles.values()) == {0.5}
