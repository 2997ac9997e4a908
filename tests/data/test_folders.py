"""Identity folders: what counts as a picture, what is skipped, what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.data.faces import FACE_BYTES, load_faces
from edgeface.data.folders import scan
from edgeface_runtime.errors import InputError


def picture(path: Path, shape: tuple[int, int] = (112, 96), value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*shape, 3), value, np.uint8))
    return path


@pytest.fixture
def people(tmp_path: Path) -> Path:
    root = tmp_path / "people"
    for name, count in (("bea", 3), ("ann", 2)):
        for number in range(count):
            picture(root / name / f"{number}.png", value=50 * number)
    return root


def test_labels_follow_sorted_names(people: Path) -> None:
    picture(people / "bea" / "more" / "x.JPG")
    (people / "bea" / "notes.txt").write_text("no picture")
    picture(people / "bea" / ".hidden.png")
    (people / ".cache").mkdir()
    folder = scan(people)
    assert folder.identities == ("ann", "bea")
    assert [label for _, label in folder.samples] == [0, 0, 1, 1, 1, 1]
    assert folder.samples[-1][0].name == "x.JPG"
    assert folder.skipped == ()
    assert folder.name == "people: 2 people, 6 faces"


def test_bad_files_are_listed(people: Path) -> None:
    (people / "ann" / "empty.jpg").touch()
    (people / "ann" / "text.jpg").write_text("this is no picture at all")
    whole = picture(people / "cat" / "cut.png").read_bytes()
    (people / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    listed = scan(people)
    assert {entry.path.name: entry.reason for entry in listed.skipped} == {
        "empty.jpg": "empty file",
        "text.jpg": "not a picture in spite of its name",
    }
    assert listed.identities == ("ann", "bea", "cat")
    read = load_faces(listed).folder
    assert [entry.path.name for entry in read.skipped] == ["empty.jpg", "text.jpg", "cut.png"]
    assert read.identities == ("ann", "bea"), "a person without usable pictures has no label"
    assert len(read.samples) == 5


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "holds no pictures of people"),
        (("ann/1.png",), r"one identity only \(ann\): two people or more are needed"),
        (("1.png", "2.png"), "pictures but no folders"),
    ],
)
def test_refused(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    for name in names:
        picture(tmp_path / name)
    with pytest.raises(InputError, match=words) as caught:
        scan(tmp_path)
    assert "\n" not in str(caught.value)


def test_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        scan(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a folder"):
        scan(picture(tmp_path / "face.png"))


def test_digest_changes_with_the_data(people: Path) -> None:
    before = scan(people).digest
    assert scan(people).digest == before
    extra = picture(people / "ann" / "9.png")
    assert scan(people).digest != before
    extra.unlink()
    assert scan(people).digest == before
    with (people / "ann" / "0.png").open("ab") as stream:
        stream.write(b"x")
    assert scan(people).digest != before


def test_memory_limit_decides_where_faces_are_kept(people: Path) -> None:
    folder = scan(people)
    kept, read = load_faces(folder, memory_mib=1), load_faces(folder, memory_mib=0)
    assert kept.pixels is not None and kept.pixels.nbytes == 5 * FACE_BYTES
    assert read.pixels is None
    for index in range(5):
        assert np.array_equal(kept[index], read[index])
    assert kept.labels.tolist() == [0, 0, 1, 1, 1]


def test_unaligned_pictures_are_refused(people: Path) -> None:
    for path in people.rglob("*.png"):
        picture(path, shape=(250, 200))
    with pytest.raises(InputError, match=r"200x250, not an aligned crop.*edgeface data align"):
        load_faces(scan(people))
    with pytest.raises(InputError, match=r"200x250, not a crop of 96 wide, 128 high.*--crop box --size 128x96"):
        load_faces(scan(people), size=(128, 96))


def test_a_picture_of_another_size_is_listed(people: Path) -> None:
    wide = picture(people / "ann" / "wide.png", shape=(250, 200))
    faces = load_faces(scan(people))
    assert len(faces) == 5
    assert [(entry.path, entry.reason) for entry in faces.folder.skipped] == [
        (wide, "200x250, not 96 wide, 112 high")
    ]


def test_box_crops_are_read(people: Path) -> None:
    for path in people.rglob("*.png"):
        picture(path, shape=(128, 96))
    kept, read = (load_faces(scan(people), limit, size=(128, 96)) for limit in (1, 0))
    assert kept.size == (128, 96) and kept.pixels is not None and kept.pixels.shape == (5, 128, 96, 3)
    assert np.array_equal(kept[3], read[3])
