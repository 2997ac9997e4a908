"""Verification against scores worked out by hand: embeddings are directions that the pictures spell out."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, radians
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface.evaluation import Occlusion, evaluate_pairs, parse_folds
from edgeface.evaluation.record import record_result
from edgeface_calibration.occluders import Occluded
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.bundle import read_manifest
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import Manifest, write_manifest

# Three folds of one genuine and one impostor pair each.
PAIRS = "3\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nBob\t1\t2\nBob\t2\tCid\t1\nCid\t1\t2\nCid\t2\tAnn\t2\n"


@pytest.fixture
def people(told: Any) -> Any:
    """Genuine pairs 10, 10 and 45 degrees apart; impostor pairs 40, 170 and 165."""
    for person, angles in (("Ann", (0, 10)), ("Bob", (40, 50)), ("Cid", (220, 175))):
        for angle in angles:
            told.write(person, angle)
    return told


def test_accuracy_by_hand(people: Any, pairs_file: Callable[[str], Path]) -> None:
    result = evaluate_pairs(people.embedder(), people.root, pairs_file(PAIRS))
    assert (result.protocol, result.pairs, result.missing) == ("set", 6, 0)
    # Fold 1 (10 against 40): the others, 10 and 45 against 170 and 165, say that 40 is one person. Half right.
    # Fold 2 (10 against 170): right wherever the others draw the line.
    # Fold 3 (45 against 165): the others, 10 and 10 against 40 and 170, draw it before 40, so 45 is refused.
    assert result.accuracy == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert result.std == pytest.approx(((2 * (1 / 6) ** 2 + (1 / 3) ** 2) / 3) ** 0.5)
    assert result.auc == pytest.approx(8 / 9), "only 45 against 40 is the wrong way round"
    assert cos(radians(165)) < result.threshold < cos(radians(10))
    assert all(entry.tar is None and entry.reason for entry in result.tar), "three impostors carry no rate"
    assert sum(map(len, people.calls)) == 6, "every picture is embedded once"
    assert result.ran_on == {"backend": "told"}


def test_perfect_and_useless(told: Any, pairs_file: Callable[[str], Path]) -> None:
    for person, angles in (("Ann", (0, 5)), ("Bob", (90, 95)), ("Cid", (180, 185))):
        for angle in angles:
            told.write(person, angle)
    text = "3\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nBob\t1\t2\nBob\t1\tCid\t1\nCid\t1\t2\nCid\t1\tAnn\t1\n"
    good = evaluate_pairs(told.embedder(), told.root, pairs_file(text))
    assert (good.accuracy, good.std, good.auc, good.eer) == (1, 0, 1, 0)
    assert (good.interval.low, good.interval.high) == (1, 1)
    swapped = "3\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nBob\t1\t2\nBob\t1\tCid\t1\nCid\t1\t2\nCid\t1\tAnn\t1\n"
    for person in ("Ann", "Bob", "Cid"):  # now nobody looks like themselves
        told.write(person, {"Ann": 100, "Bob": 190, "Cid": 20}[person], 2)
    bad = evaluate_pairs(told.embedder(), told.root, pairs_file(swapped))
    assert bad.auc < 0.5 and bad.accuracy < 1


def test_only_the_second_picture_is_covered(people: Any, pairs_file: Callable[[str], Path]) -> None:
    seen: list[str] = []

    class Spy(Occlusion):
        def cover(self, image: Any, name: str, landmarks: Any = None) -> Any:
            seen.append(name)
            return Occluded(
                np.zeros_like(image), np.ones((112, 96), bool), "mask"
            )  # every covered picture becomes angle 0

    result = evaluate_pairs(people.embedder(), people.root, pairs_file(PAIRS), occlusion=Spy("mask"))
    second = {"Ann/Ann_0002.png", "Bob/Bob_0001.png", "Bob/Bob_0002.png", "Cid/Cid_0001.png", "Cid/Cid_0002.png"}
    assert sorted(seen) == sorted(second)
    assert sorted(people.calls[0]) == [0, 40, 50, 175, 220], "first pictures are clean"
    assert people.calls[1] == [0] * 5
    assert (result.protocol, result.occlusion) == ("set mask", "mask")
    # Scores are now the first picture against angle 0: genuine 0, 40, 220 (as 140), impostor 0, 50, 175.
    assert result.auc == pytest.approx((0.5 + 1 + 1 + 0 + 1 + 1 + 0 + 0 + 1) / 9)


def test_the_same_seed_covers_the_same_way() -> None:
    image = np.full((112, 96, 3), 128, np.uint8)
    one, again, other = (Occlusion("random", 0.4, seed) for seed in (3, 3, 4))
    first, second = "Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg"
    assert np.array_equal(one.cover(image, first).image, again.cover(image, first).image)
    assert not np.array_equal(one.cover(image, first).image, one.cover(image, second).image)
    assert not np.array_equal(one.cover(image, first).image, other.cover(image, first).image)
    assert image.min() == image.max() == 128, "the picture itself is left alone"


@pytest.mark.parametrize(
    ("kind", "share", "label"),
    [("random", None, "random .4"), ("random", 0.25, "random .25"), ("mask", None, "mask"), ("mask", 0.3, "mask .3")],
)
def test_labels(kind: str, share: float | None, label: str) -> None:
    assert Occlusion(kind, share).label == label


def test_missing_pictures_are_counted(people: Any, pairs_file: Callable[[str], Path]) -> None:
    text = PAIRS.replace("Bob\t1\t2", "Bob\t1\t9").replace("Cid\t2\tAnn\t2", "Cid\t8\tAnn\t7")
    result = evaluate_pairs(people.embedder(), people.root, pairs_file(text))
    assert (result.pairs, result.missing) == (4, 2)
    assert result.missing_first == ("Bob/Bob_0009.jpg", "Cid/Cid_0008.jpg", "Ann/Ann_0007.jpg")


def test_a_fold_of_one_kind_is_named(people: Any, pairs_file: Callable[[str], Path]) -> None:
    assert evaluate_pairs(people.embedder(), people.root, pairs_file(PAIRS)).fold_notes == ()
    text = PAIRS.replace("Bob\t1\t2", "Bob\t1\t9").replace("Cid\t2\tAnn\t2", "Cid\t8\tAnn\t7")
    result = evaluate_pairs(people.embedder(), people.root, pairs_file(text))
    assert result.fold_notes == ("fold 2 has only impostor pairs left", "fold 3 has only genuine pairs left")
    empty = PAIRS.replace("Bob\t1\t2", "Bob\t1\t9").replace("Bob\t2\tCid\t1", "Bob\t2\tCid\t9")
    result = evaluate_pairs(people.embedder(), people.root, pairs_file(empty))
    assert result.fold_notes == ("fold 2 has no pair left and is not counted",) and len(result.fold_accuracies) == 2
    with pytest.raises(InputError, match=r"fold 1 has no threshold: .* \(3\) have only genuine pairs left"):
        evaluate_pairs(people.embedder(), people.root, pairs_file(text), folds=(1, 3))


def test_some_folds(people: Any, pairs_file: Callable[[str], Path]) -> None:
    body = PAIRS.splitlines()[1:]
    lines = ["3\t2", *(line for at in (0, 2, 4) for line in (*[body[at]] * 2, *[body[at + 1]] * 2))]
    lines[1] = "Ann\t1\t9"
    text = "\n".join(lines) + "\n"
    result = evaluate_pairs(people.embedder(), people.root, pairs_file(text), folds=(2, 3), name="told")
    assert (result.protocol, result.pairs) == ("told, folds 2-3", 8)
    assert result.missing == 0 and result.missing_first == (), "what fold 1 misses is not asked for"
    assert 0 not in people.calls[0], "Ann's first picture is in fold 1 only"
    scattered = evaluate_pairs(people.embedder(), people.root, pairs_file(text), folds=(1, 3), name="told")
    assert (scattered.protocol, scattered.pairs, scattered.missing) == ("told, folds 1,3", 7, 1)
    with pytest.raises(InputError, match="asks for fold 4"):
        evaluate_pairs(people.embedder(), people.root, pairs_file(text), folds=(3, 4))
    with pytest.raises(InputError, match="two folds"):
        evaluate_pairs(people.embedder(), people.root, pairs_file(text), folds=(3,))


def test_progress_reaches_its_end(people: Any, pairs_file: Callable[[str], Path]) -> None:
    steps: list[tuple[int, int]] = []
    cover = Occlusion("mask")
    evaluate_pairs(
        people.embedder(),
        people.root,
        pairs_file(PAIRS),
        occlusion=cover,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(5, 10), (10, 10)]


@pytest.mark.parametrize(
    ("text", "folds"), [("1-3", (1, 2, 3)), ("6-10", (6, 7, 8, 9, 10)), ("5,1,1-2", (1, 2, 5)), ("7", (7,))]
)
def test_folds_are_read(text: str, folds: tuple[int, ...]) -> None:
    assert parse_folds(text) == folds


@pytest.mark.parametrize("text", ["", "a", "1-", "0", "-1", "3-2", "1-2-3", "1.5"])
def test_bad_folds(text: str) -> None:
    if text == "1-":  # an open end is the fold itself
        assert parse_folds(text) == (1,)
        return
    with pytest.raises(InputError, match="--folds takes ranges"):
        parse_folds(text)


def test_record_in_a_bundle_replaces_its_protocol(tmp_path: Path) -> None:
    (tmp_path / "recognizer.onnx").write_bytes(b"weights")
    facts: dict[str, Any] = {
        "name": "told",
        "created": "2026-01-02T03:04:05+00:00",
        "models": {"fp32": "recognizer.onnx"},
        "template": tuple((float(x), float(y)) for x, y in TEMPLATE),
        "outputs": ("embedding",),
        "masking": "none",
    }
    write_manifest(tmp_path, Manifest(**facts))
    for protocol, accuracy in (("lfw", 0.5), ("lfw mask", 0.4), ("lfw", 0.75)):
        record_result(tmp_path, {"protocol": protocol, "accuracy": accuracy})
    kept = [(entry["protocol"], entry["accuracy"]) for entry in read_manifest(tmp_path).accuracy]
    assert kept == [("lfw mask", 0.4), ("lfw", 0.75)]
    with pytest.raises(InputError, match=r"not a \.tar"):
        record_result(tmp_path / "bundle.tar", {"protocol": "lfw"})


def _people_of_pairs(path: Path, folds: range) -> set[str]:
    """People of some folds, read without the project's reader."""
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    each = int(lines[0][1]) * 2
    chosen = [line for fold in folds for line in lines[1 + (fold - 1) * each : 1 + fold * each]]
    assert len(chosen) == each * len(folds)
    return {line[0] for line in chosen} | {line[2] for line in chosen if len(line) == 4}


@pytest.mark.data
def test_people_to_train_on_are_in_no_test_pair(data_dir: Path) -> None:
    from edgeface_calibration.pairs import read_pairs

    tested = _people_of_pairs(data_dir / "lfw" / "pairs.txt", range(1, 11))
    pairs, report = read_pairs(data_dir / "lfw" / "pairs.txt", data_dir / "lfw" / "aligned")
    assert {name for pair in pairs for name in pair.identities} <= tested
    assert (report.listed, report.folds) == (6000, 10)
    train = set((data_dir / "lfw" / "people_not_in_pairs.txt").read_text().split())
    assert len(train) == 1468 and not train & tested
    assert all((data_dir / "lfw" / "aligned" / person).is_dir() for person in train)
    celeba = {entry.name for entry in (data_dir / "celeba-subset").iterdir()}
    assert len(celeba) == 224 and not celeba & tested
    small = set((data_dir / "celeba-subset-small.txt").read_text().split())
    assert len(small) == 40 and small <= celeba
