"""Every person's pictures are divided 70/15/15, nothing lost, the same way each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeface.data.split import PARTS, check_fractions, counts_of, split_folder
from edgeface.data.synthetic import write_synthetic
from edgeface_runtime.errors import InputError


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        (10, (6, 2, 2)),
        (20, (14, 3, 3)),
        (100, (70, 15, 15)),
        (4, (2, 1, 1)),
        (3, (3, 0, 0)),
        (2, (2, 0, 0)),
        (1, (1, 0, 0)),
    ],
)
def test_counts(pictures: int, expected: tuple[int, int, int]) -> None:
    assert counts_of(pictures, (0.7, 0.15, 0.15)) == expected


def test_training_keeps_one() -> None:
    assert counts_of(2, (0.1, 0.45, 0.45)) == (1, 0, 1)
    assert counts_of(1, (0.1, 0.45, 0.45)) == (1, 0, 0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "src"
    write_synthetic(folder, 3, 10, 0)
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".jpg", ".png")}


def test_every_picture_is_in_one_part(source: Path, tmp_path: Path) -> None:
    report = split_folder(source, tmp_path / "out", seed=3)
    found = [names(tmp_path / "out" / part) for part in PARTS]
    assert set.union(*found) == names(source)
    assert sum(map(len, found)) == len(names(source)) == 30
    assert report.pictures == {"train": 18, "val": 6, "test": 6}
    assert report.people == {"train": 3, "val": 3, "test": 3}
    one = next(path for path in (tmp_path / "out" / "test").rglob("*") if path.is_symlink())
    assert one.read_bytes() == (source / one.relative_to(tmp_path / "out" / "test")).read_bytes()


def test_same_seed_same_parts(source: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        split_folder(source, tmp_path / name, seed=seed)
    a, b, c = (names(tmp_path / name / "test") for name in "abc")
    assert a == b != c


def test_landmarks_are_divided_too(source: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "src"
    shutil.copytree(source, copy)
    listed = sorted(names(copy))
    points = {name: [[float(number), 1.0]] * 5 for number, name in enumerate(listed[1:])}
    (copy / "landmarks.json").write_text(json.dumps(points))
    report = split_folder(copy, tmp_path / "out")
    kept = [json.loads((tmp_path / "out" / part / "landmarks.json").read_text()) for part in PARTS]
    assert {key: value for part in kept for key, value in part.items()} == points
    assert report.without_landmarks == 1
    for part, own in zip(PARTS, kept, strict=True):
        assert set(own) <= names(tmp_path / "out" / part)


def test_refusals(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="three shares"):
        split_folder(source, tmp_path / "x", (0.5, 0.5, 0.5))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(InputError, match="exists"):
        split_folder(source, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_not_into_itself(source: Path) -> None:
    before = names(source)
    for out in (source, source / "parts", source.parent):
        with pytest.raises(InputError, match="lie in one another"):
            split_folder(source, out)
    assert names(source) == before


def test_shares_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="three shares that add up to 1"):
        check_fractions((float("nan"),) * 3)
