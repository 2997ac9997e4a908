"""What the demo does before it trains: whose faces, split how, and which settings it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgeface.data.synthetic import synth_face, write_synthetic
from edgeface.workflows import demo
from edgeface.workflows.demo import DemoSettings, run_demo
from edgeface.workflows.demo_data import DemoFaces, prepare_faces
from edgeface_runtime.errors import InputError


def quiet(line: str) -> None:
    """No notes."""


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Six people with two crops and two with one."""
    folder = tmp_path / "own"
    write_synthetic(folder, 6, 2)
    for at in (6, 7):
        (folder / f"single_{at}").mkdir()
        cv2.imwrite(str(folder / f"single_{at}" / "only.png"), synth_face(at, 0))
    return folder


def test_nobody_is_in_both_parts(own: Path, tmp_path: Path) -> None:
    faces = prepare_faces(own, tmp_path / "out", 0, 0, 0, quiet)
    train, test = names(faces.train), names(faces.test)
    assert not train & test and train | test == names(own)
    assert faces.people == (len(train), len(test)) == (6, 2)
    assert not any(name.startswith("single") for name in test), "a probe needs a second picture"
    assert all((faces.train / name).resolve() == (own / name).resolve() for name in train)
    assert names(own / "person_000") == {"person_000_0001.png", "person_000_0002.png"}, (
        "the user's folder is only linked to"
    )


def test_the_split_is_seeded(own: Path, tmp_path: Path) -> None:
    tested = [names(prepare_faces(own, tmp_path / f"{at}", 0, 0, seed, quiet).test) for at, seed in enumerate((3, 3))]
    assert tested[0] == tested[1]
    others = {frozenset(names(prepare_faces(own, tmp_path / f"s{s}", 0, 0, s, quiet).test)) for s in range(6)}
    assert len(others) > 1


def test_nobody_stays_behind_in_the_other_part(own: Path, tmp_path: Path) -> None:
    for seed in range(6):
        faces = prepare_faces(own, tmp_path / "out", 0, 0, seed, quiet)
        assert not names(faces.train) & names(faces.test), f"seed {seed}"
        assert names(faces.train) | names(faces.test) == names(own)


def test_procedural_faces_are_drawn_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(folder: Path, people: int, per_person: int, seed: int) -> None:
        write_synthetic(folder, 2, per_person, seed)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edgeface.data.synthetic.write_synthetic", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare_faces(None, tmp_path, 10, 2, 0, quiet)
    faces = prepare_faces(None, tmp_path, 10, 2, 0, quiet)
    assert faces.people == (8, 2), "a stopped drawing is not taken for a whole one"
    before = tree(tmp_path)
    assert prepare_faces(None, tmp_path, 10, 2, 0, quiet) == faces
    assert tree(tmp_path) == before


def test_too_few_people(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "own", 3, 2)
    with pytest.raises(InputError, match="has 3 people with two pictures: the demo needs four"):
        prepare_faces(tmp_path / "own", tmp_path / "out", 0, 0, 0, quiet)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": (0, 1, 1)}, "--epochs takes three numbers from 1"),
        ({"epochs": (1, 1)}, "--epochs takes three numbers from 1"),
        ({"ratios": ()}, "--ratios is empty"),
        ({"ratios": (0.0, 1.5)}, "--ratios must lie between 0 and 0.9, got 0, 1.5"),
        ({"ratios": (float("nan"),)}, "--ratios must lie between"),
        ({"batch": 1}, "--batch must be at least 2"),
        ({"seed": -1}, "--seed at least 0"),
    ],
)
def test_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DemoSettings(**changes)


class Reached(Exception):
    """The work would begin here."""


@pytest.fixture
def stop_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*details: object) -> DemoFaces:
        raise Reached

    monkeypatch.setattr(demo, "_require_extras", lambda: None)
    monkeypatch.setattr(demo, "prepare_faces", stop)


def begin(settings: DemoSettings, out: Path, resume: bool = False) -> None:
    run_demo(settings, out, resume=resume, note=quiet)


def test_unknown_networks_are_refused_before_anything_is_written(stop_at_work: None, tmp_path: Path) -> None:
    for settings in (DemoSettings(arch="best"), DemoSettings(width=0)):
        with pytest.raises(InputError, match=r"--arch|--width"):
            begin(settings, tmp_path / "out")
    with pytest.raises(InputError, match="not found"):
        begin(DemoSettings(faces=tmp_path / "nowhere"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use(stop_at_work: None, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty: name another --out, or go on with --resume"):
        begin(DemoSettings(), tmp_path)
    with pytest.raises(InputError, match="is a file"):
        begin(DemoSettings(), tmp_path / "mine.txt")
    assert names(tmp_path) == {"mine.txt"}


def test_resuming_asks_for_the_same_settings(stop_at_work: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Reached):
        begin(DemoSettings(seed=1), out)
    assert json.loads((out / "settings.json").read_text())["seed"] == 1
    with pytest.raises(InputError, match="was begun with --seed 1, now 2"):
        begin(DemoSettings(seed=2), out, resume=True)
    with pytest.raises(InputError, match=r"--width 0\.25, now 0\.5"):
        begin(DemoSettings(seed=1, width=0.5), out, resume=True)
    with pytest.raises(Reached):
        begin(DemoSettings(seed=1, ratios=(0.0, 0.7)), out, resume=True)
    (out / "settings.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        begin(DemoSettings(seed=1), out, resume=True)
