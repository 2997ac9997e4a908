"""Pairs files: each form of the format, each kind of damage, and LFW's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeface_calibration.pairs import MissingPicture, read_pairs
from edgeface_runtime.errors import InputError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name, count in (("Ann_A", 3), ("Bob_B", 2), ("Cy C", 2)):
        (folder / name).mkdir(parents=True)
        for index in range(1, count + 1):
            (folder / name / f"{name}_{index:04d}.jpg").touch()
    (folder / "Png").mkdir()
    (folder / "Png" / "Png_0001.png").touch()
    (folder / "Png" / "Png_0002.jpeg").touch()
    return folder


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    return path


def test_tabs_header_and_folds(tmp_path: Path, images: Path) -> None:
    path = write(tmp_path, "2\t1\nAnn_A\t1\t3\nAnn_A\t1\tBob_B\t2\nBob_B\t1\t2\nCy C\t2\tAnn_A\t2\n")
    pairs, report = read_pairs(path, images)
    assert [(p.a.name, p.b.name, p.genuine, p.fold) for p in pairs] == [
        ("Ann_A_0001.jpg", "Ann_A_0003.jpg", True, 1),
        ("Ann_A_0001.jpg", "Bob_B_0002.jpg", False, 1),
        ("Bob_B_0001.jpg", "Bob_B_0002.jpg", True, 2),
        ("Cy C_0002.jpg", "Ann_A_0002.jpg", False, 2),
    ]
    assert pairs[1].identities == ("Ann_A", "Bob_B")
    assert (report.listed, report.usable, report.folds, report.missing) == (4, 4, 2, ())


def test_blanks_single_number_and_other_suffixes(tmp_path: Path, images: Path) -> None:
    pairs, report = read_pairs(write(tmp_path, "1\r\nPng 1 2\r\nAnn_A  1   Png 1\r\n"), images)
    assert [p.a.name for p in pairs] == ["Png_0001.png", "Ann_A_0001.jpg"]
    assert [p.b.name for p in pairs] == ["Png_0002.jpeg", "Png_0001.png"]
    assert report.folds == 1


def test_without_header_folds_follow_the_order(tmp_path: Path, images: Path) -> None:
    one = "Ann_A 1 2\nAnn_A 1 Bob_B 1\n"
    pairs, _ = read_pairs(write(tmp_path, one * 3), images)
    assert [p.fold for p in pairs] == [1, 1, 2, 2, 3, 3]
    pairs, report = read_pairs(write(tmp_path, one + "Ann_A 1 2\n" + one), images)
    assert {p.fold for p in pairs} == {1} and report.folds == 1


def test_missing_pictures_are_reported(tmp_path: Path, images: Path) -> None:
    pairs, report = read_pairs(write(tmp_path, "Ann_A 1 9\nAnn_A 8 Zoe 1\nAnn_A 1 2\n"), images)
    assert len(pairs) == 1 and (report.listed, report.usable) == (3, 1)
    assert report.missing == (
        MissingPicture(1, "Ann_A/Ann_A_0009.jpg"),
        MissingPicture(2, "Ann_A/Ann_A_0008.jpg"),
        MissingPicture(2, "Zoe/Zoe_0001.jpg"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\t1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\n", "line 3: a picture's number expected, got 'Bob_B'"),
        ("Ann_A 1 2\nAnn_A 1\n", "line 2: expected 'name i j'"),
        ("Ann_A 1 2\nAnn_A -1 2\n", "line 2: a picture's number expected, got '-1'"),
        ("Ann_A 1 2\nCy C 1 2\n", "line 2: a picture's number expected, got 'C'"),
        ("Ann_A 1 Ann_A 2\n", "line 1: two different people expected"),
        ("../x 1 2\n", "line 1: '../x' is not a person's folder"),
        ("Ann_A 1 2 3 4\n", "line 1: expected"),
        ("10\t300\nAnn_A\t1\t2\n", "promises 6000 pairs, it holds 1"),
        ("10\t300\n", "lists no pair"),
        ("", "lists no pair"),
        ("Zoe 1 2\n", "none of the 1 pairs .* looked for Zoe/Zoe_0001.jpg first"),
    ],
)
def test_bad_files(tmp_path: Path, images: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(write(tmp_path, text), images)


def test_no_text_no_file_no_folder(tmp_path: Path, images: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(InputError, match="not a readable text file"):
        read_pairs(binary, images)
    with pytest.raises(InputError, match="pairs file not found"):
        read_pairs(tmp_path / "none.txt", images)
    with pytest.raises(InputError, match="no folder of pictures"):
        read_pairs(write(tmp_path, "Ann_A 1 2\n"), tmp_path / "none")


@pytest.mark.data
def test_lfw(data_dir: Path) -> None:
    pairs, report = read_pairs(data_dir / "lfw" / "pairs.txt", data_dir / "lfw" / "aligned")
    assert (report.listed, report.usable, report.folds) == (6000, 5999, 10)
    assert [m.picture for m in report.missing] == ["Marilyn_Monroe/Marilyn_Monroe_0001.jpg"]
    sizes = [(sum(p.genuine for p in pairs if p.fold == f), sum(p.fold == f for p in pairs)) for f in range(1, 11)]
    assert sorted(sizes)[1:] == [(300, 600)] * 9
