"""What `enroll` and `identify` say, and that a refused enrolment leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeface_runtime.gallery import Gallery

Cli = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "give 1 to 200 printable characters"),
        ("a\nb", "give 1 to 200 printable characters"),
        ("x" * 201, "give 1 to 200 printable characters"),
        ("Unknown", "it is what a face that matches nobody is called"),
    ],
)
def test_a_name_is_refused_before_anything_is_looked_at(cli: Cli, tmp_path: Path, name: str, why: str) -> None:
    gallery = tmp_path / "new.db"
    done = cli("enroll", "no such bundle", name, "no such picture", "--gallery", gallery)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1) and why in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["", ".", "/"])
@pytest.mark.parametrize("words", ["gallery list", "gallery delete Ada", "enroll {bundle} Ada {photo}"])
def test_a_folder_or_nothing_is_no_gallery(cli: Cli, chain: Any, place: str, words: str) -> None:
    command = [word.format(bundle=chain.bundle, photo=chain.photo) for word in words.split()]
    done = cli(*command, "--gallery", place)
    assert (done.code, done.err.count("\n")) == (2, 1) and "is a folder, not a gallery" in done.err


def test_a_gallery_that_was_there_is_updated(cli: Cli, chain: Any, tmp_path: Path) -> None:
    gallery = tmp_path / "g.db"
    command = ("enroll", chain.bundle, "Ada", chain.photo, "--gallery", gallery)
    assert [cli(*command).err for _ in range(2)] == [f"wrote {gallery}\n", f"updated {gallery}\n"]


def test_one_folder_of_pictures_is_said_once(cli: Cli, chain: Any, tmp_path: Path) -> None:
    """Its pictures are then told by their names alone; one that cannot be read is also said on stderr."""
    shutil.copy(chain.photo, tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    pictures = (tmp_path / "a.png", tmp_path / "b.png")
    look = ("identify", chain.bundle, "--gallery", chain.gallery)
    done = cli(*look, *pictures)
    assert done.err.splitlines()[-1] == f"warning: {tmp_path}/b.png is not a JPEG, PNG, BMP or WebP picture"
    title, *rows = done.out.splitlines()
    assert title.endswith(f"; pictures of {tmp_path}")
    assert [row.split("│")[1].strip() for row in rows if "│" in row] == ["a.png", "b.png"]
    assert rows[-2].split("│")[3].strip() == "b.png is not a JPEG, PNG, BMP or WebP picture"
    done = cli(*look, tmp_path / "a.png", chain.photo)
    assert str(tmp_path / "a.png") in done.out and str(chain.photo) in done.out and "pictures of" not in done.out
    done = cli(*look, tmp_path / "b.png", tmp_path / "none.png")
    assert done.err.startswith(f"edgeface: none of 2 pictures can be read, first: {tmp_path}/b.png is not")


def test_a_pending_erasure_is_said_until_it_is_done(cli: Cli, tmp_path: Path) -> None:
    """The kept crop's folder is away, as on a disk that is not mounted; anew and empty, it is done."""
    from edgeface_runtime.gallery_crop_files import keep

    path, crops = tmp_path / "g.db", tmp_path / "crops"
    with Gallery(path, "a" * 64, 4, create=True) as gallery:
        kept = keep(path, crops, [np.zeros((112, 96, 3), np.uint8)], "spec")
        gallery.enroll_many("Ada", [np.eye(4)[0]], [""], crops=kept)
    crops.rename(tmp_path / "away")
    done = cli("gallery", "delete", "Ada", "--gallery", path)
    assert done.code == 1 and f"the folder {crops} of kept crops is not there: mount its disk" in done.out
    listing = cli("gallery", "list", "--gallery", path)
    assert listing.code == 0 and listing.err.startswith(f"erasure pending: the folder {crops} of kept crops")
    crops.mkdir()
    assert cli("gallery", "list", "--gallery", path).err == ""
    shutil.rmtree(crops)
    assert cli("gallery", "list", "--gallery", path).err == "", "nothing is pending any more"


def test_one_of_something(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with Gallery(path, "a" * 64, 4, create=True) as gallery:
        gallery.enroll("Ada", np.eye(4)[0])
    done = cli("gallery", "backup", tmp_path / "b.db", "--gallery", path)
    assert done.out == "1 template of 1 person, checked\n"


def test_calibration_says_what_it_leaves_out(cli: Cli, chain: Any, tmp_path: Path) -> None:
    faces, bundle = tmp_path / "faces", tmp_path / "bundle"
    shutil.copytree(chain.faces, faces)
    shutil.copytree(chain.bundle, bundle)
    person = sorted(faces.iterdir())[0]
    (person / "0.jpg").write_text("no picture")
    ask = ("calibrate", "threshold", bundle, "--data", faces, "--threads", 1)
    done = cli(*ask, "--fmr", ".2", "--json")
    assert done.code == 0 and f"1 file left out, first {person}/0.jpg: " in done.err
    assert [entry.split(": ")[0] for entry in done.data["skipped"]] == [f"{person}/0.jpg"]
    for flags, why in (
        (("--gallery-size", 3), "--gallery-size is of the galleries that measure --fpir"),
        (("--conditions", ""), "--conditions is empty"),
    ):
        refused = cli(*ask, *flags)
        assert (refused.code, refused.err.count("\n")) == (2, 1) and why in refused.err
    cv2.imwrite(str(person / "0.jpg"), np.zeros((250, 250, 3), np.uint8))
    wrong = cli(*ask, "--fmr", ".2")
    assert wrong.code == 2 and "edgeface data align" in wrong.err and "--align" not in wrong.err
