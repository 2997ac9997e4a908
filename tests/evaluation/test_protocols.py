"""Training sets of the LFW protocols: nobody of them is in a test pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeface.data.folders import scan
from edgeface.evaluation.protocols import make_training_set, test_folds, training_people
from edgeface_runtime.errors import InputError

JPEG = b"\xff\xd8\xff\xe0 not looked at further"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Ten folds of a genuine and an impostor pair: fold n is of An and Bn."""
    lines = ["10\t1"]
    for fold in range(1, 11):
        lines += [f"A{fold}\t1\t2", f"A{fold}\t1\tB{fold}\t1"]
    data = tmp_path / "data"
    people = {f"{letter}{fold}": 3 for fold in range(1, 11) for letter in "AB"} | {"Zed": 2, "Solo": 1}
    for person, count in people.items():
        for number in range(count):
            picture = data / "lfw" / "aligned" / person / f"{person}_{number:04d}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(JPEG + bytes(number))
    (data / "celeba-subset" / "12").mkdir(parents=True)
    (data / "celeba-subset" / "12" / "1.jpg").write_bytes(JPEG)
    (data / "lfw" / "pairs.txt").write_text("\n".join(lines) + "\n")
    (data / "lfw" / "people_not_in_pairs.txt").write_text("Solo\nZed\n")
    return data


def test_full_and_half_by_hand(tiny: Path, tmp_path: Path) -> None:
    full = make_training_set(tiny, "full", tmp_path / "full")
    assert scan(tmp_path / "full").identities == ("Zed", "celeba_12")
    assert (full.people, full.pictures, full.left_out) == (2, 3, 1)
    half = make_training_set(tiny, "half", tmp_path / "half")
    wanted = sorted([f"{letter}{fold}" for fold in range(1, 6) for letter in "AB"] + ["Zed", "celeba_12"])
    assert list(scan(tmp_path / "half").identities) == wanted
    assert half.pictures == 10 * 3 + 2 + 1 and half.digest == scan(tmp_path / "half").digest
    more = make_training_set(tiny, "full", tmp_path / "one", minimum=1)
    assert (more.people, more.left_out) == (3, 0)
    assert (test_folds("full"), test_folds("half")) == (tuple(range(1, 11)), (6, 7, 8, 9, 10))


def test_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose one of full, half"):
        training_people(tiny, "third")
    with pytest.raises(InputError, match="--minimum"):
        make_training_set(tiny, "full", tmp_path / "x", minimum=0)
    make_training_set(tiny, "full", tmp_path / "x")
    with pytest.raises(InputError, match="exists"):
        make_training_set(tiny, "full", tmp_path / "x")
    (tiny / "lfw" / "people_not_in_pairs.txt").write_text("Zed\nA7\n")
    with pytest.raises(InputError, match="1 people are in test pairs and in the training list, first A7"):
        training_people(tiny, "full")
    with pytest.raises(InputError, match="pairs file not found"):
        training_people(tmp_path, "half")


def test_by_the_command_line(tiny: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from edgeface.cli.data import app

    done = CliRunner().invoke(app, ["protocol", str(tiny), str(tmp_path / "set"), "--protocol", "half", "--json"])
    assert done.exit_code == 0, done
    assert json.loads(done.stdout) == json.loads((tmp_path / "set" / "protocol.json").read_text())
    assert len(scan(tmp_path / "set").identities) == 12


@pytest.mark.data
@pytest.mark.parametrize(("protocol", "people", "with_two"), [("full", 1468, 52), ("half", 3554, 826)])
def test_training_and_test_people_are_disjoint(data_dir: Path, protocol: str, people: int, with_two: int) -> None:
    """Read without the project's reader of pairs."""
    lines = [line.split("\t") for line in (data_dir / "lfw" / "pairs.txt").read_text().splitlines()[1:]]
    chosen = [line for at, line in enumerate(lines) if 1 + at // 600 in test_folds(protocol)]
    tested = {line[0] for line in chosen} | {line[2] for line in chosen if len(line) == 4}
    train = training_people(data_dir, protocol)
    assert len(train) == people and not tested & set(train)
    aligned = data_dir / "lfw" / "aligned"
    assert sum(len(list((aligned / name).iterdir())) >= 2 for name in train) == with_two


@pytest.mark.data
def test_the_half_set_of_the_data(data_dir: Path, tmp_path: Path) -> None:
    made = make_training_set(data_dir, "half", tmp_path / "half")
    assert (made.people, made.pictures, made.skipped) == (826 + 224, 8890, 0)
