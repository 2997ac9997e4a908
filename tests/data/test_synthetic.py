"""Procedural faces: reproducible, on the template, and as different as people should be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.data import scan, synth_face, write_synthetic
from edgeface.data.synthetic_shapes import Canvas, ellipse
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import InputError


def test_same_numbers_same_face() -> None:
    face = synth_face(3, 5, seed=7)
    assert face.shape == (112, 96, 3) and face.dtype == np.uint8
    assert np.array_equal(face, synth_face(3, 5, seed=7))
    others = [synth_face(4, 5, seed=7), synth_face(3, 6, seed=7), synth_face(3, 5, seed=8)]
    assert all(not np.array_equal(face, other) for other in others)


def test_canvas_puts_points_where_they_belong() -> None:
    canvas = Canvas()
    canvas.pixels[:] = 0
    canvas.fill(ellipse((30.0, 50.0), (6.0, 6.0)), (255, 255, 255))
    small = cv2.resize(canvas.pixels, (96, 112), interpolation=cv2.INTER_AREA)[:, :, 0].astype(float)
    rows, columns = np.mgrid[:112, :96]
    assert np.average(columns, weights=small) == pytest.approx(30.0, abs=0.15)
    assert np.average(rows, weights=small) == pytest.approx(50.0, abs=0.15)


def test_eyes_lie_on_the_template() -> None:
    """The average face is darkest near the template's eyes, compared with the skin left and right of the nose."""
    mean = np.mean([synth_face(person, 0).mean(axis=2) for person in range(60)], axis=0)
    for x, y in TEMPLATE[:2].round().astype(int):
        eye = mean[y - 2 : y + 3, x - 2 : x + 3].mean()
        cheek = mean[y + 16 : y + 21, x - 2 : x + 3].mean()
        assert eye < cheek - 20


def test_people_differ_more_than_pictures_of_one() -> None:
    """Nearest other picture by plain colour thumbnails, light removed, mostly shows the same person."""
    people, each = 20, 6
    faces = [synth_face(person, number) for person in range(people) for number in range(each)]
    middle = np.stack([cv2.resize(face[10:108, 12:84], (18, 24), interpolation=cv2.INTER_AREA) for face in faces])
    flat = middle.reshape(len(faces), -1).astype(float)
    flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    similar = flat @ flat.T
    np.fill_diagonal(similar, -np.inf)
    owner = np.arange(len(faces)) // each
    assert np.mean(owner[similar.argmax(1)] == owner) > 0.6, "chance is 4 %"


def test_written_folder_can_be_scanned(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    root = tmp_path / "synthetic"
    assert write_synthetic(root, 3, 2, seed=1, progress=lambda *done: calls.append(done)) == 6
    assert calls[-1] == (6, 6) and len(calls) == 6
    folder = scan(root)
    assert folder.identities == ("person_000", "person_001", "person_002")
    assert np.array_equal(cv2.imread(str(folder.samples[3][0])), synth_face(1, 1, seed=1))
    with pytest.raises(InputError, match="not an empty folder"):
        write_synthetic(root, 3, 2)
    with pytest.raises(InputError, match="at least one"):
        write_synthetic(tmp_path / "none", 0, 2)


def test_a_stopped_drawing_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    whole, root = tmp_path / "whole", tmp_path / "synthetic"
    write_synthetic(whole, 3, 2, seed=1)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(root, 3, 2, seed=1, progress=stop)
    drawn = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    assert len(drawn) == 4
    for numbers in ((3, 2, 2), (4, 2, 1), (3, 3, 1)):
        with pytest.raises(InputError, match=r"unfinished faces .*\(people 3, per_person 2, seed 1\)"):
            write_synthetic(root, *numbers)
    assert write_synthetic(root, 3, 2, seed=1) == 6
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in drawn.items())
    content = [{p.relative_to(at): p.read_bytes() for p in at.rglob("*") if p.is_file()} for at in (whole, root)]
    assert content[0] == content[1]
    with pytest.raises(InputError, match="not an empty folder"):
        write_synthetic(root, 3, 2, seed=1)
