"""Comparing two systems on the same pairs and probes, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeface.evaluation.compare import compare, compare_identification, compare_verification, paired_difference
from edgeface.evaluation.scores import IdentifyScores, VerifyScores, is_scores, read_scores, write_scores
from edgeface_runtime.errors import ArtefactError, InputError


def pairs(wrong: int, people: int = 40, seed: int = 0) -> VerifyScores:
    """Two folds, a genuine and an impostor pair for each person; `wrong` genuine pairs score as an impostor's."""
    genuine = np.tile([True, False], people)
    scores = np.where(genuine, 0.8, 0.1).astype(float)
    lost = np.random.default_rng(seed).permutation(people)[:wrong]
    scores[2 * lost] = 0.05
    names = np.array(
        [(f"p{i}/1.jpg", f"p{i}/2.jpg" if g else f"p{(i + 1) % people}/1.jpg") for i in range(people) for g in (1, 0)]
    )
    identities = np.array(
        [(f"p{i}", f"p{i}" if g else f"p{(i + 1) % people}") for i in range(people) for g in (1, 0)]
    )
    folds = np.repeat([1, 2], people)
    return VerifyScores("told", names, identities, genuine, folds, scores)


def probes(ranks: list[int], people: int = 7) -> IdentifyScores:
    names = np.array([f"p{i % 7}/{i}.jpg" for i in range(len(ranks))])
    return IdentifyScores("told", names, np.array([f"p{i % 7}" for i in range(len(ranks))]), np.array(ranks), people)


def test_accuracy_by_hand() -> None:
    found = compare_verification(pairs(0), pairs(10), resamples=200)
    entry = found.differences["accuracy"]
    # Ten of eighty pairs more are judged wrongly.
    assert entry.value == pytest.approx(10 / 80)
    assert 0 < entry.low < entry.value < entry.high and entry.verdict == "above 0"
    assert (found.compared, found.left_out) == (80, 0)
    assert found.differences["auc"].value == pytest.approx(10 / 40), "a lost pair lies below every impostor"
    assert "tar at 0.1" not in found.differences, "40 impostor pairs carry no rate"
    back = compare_verification(pairs(10), pairs(0), resamples=200).differences["accuracy"]
    assert (back.value, back.low, back.verdict) == (-entry.value, pytest.approx(-entry.high), "below 0")


def test_true_accept_rate_where_it_is_supported() -> None:
    found = compare_verification(pairs(0, people=300), pairs(60, people=300), resamples=60)
    entry = found.differences["tar at 0.1"]
    assert entry.value == pytest.approx(60 / 300) and entry.low > 0.1


def test_equal_systems_are_not_distinguishable() -> None:
    entry = compare_verification(pairs(6), pairs(6, seed=1), resamples=200).differences["accuracy"]
    assert entry.value == 0 and entry.verdict == "not distinguishable from 0"
    same = compare(pairs(6), pairs(6), resamples=50).differences["accuracy"]
    assert (same.low, same.high) == (0, 0)


def test_only_common_pairs_count() -> None:
    whole, part = pairs(0), pairs(10)
    keep = np.arange(80) >= 4
    fewer = VerifyScores(
        "x", part.names[keep], part.identities[keep], part.genuine[keep], part.folds[keep], part.scores[keep]
    )
    found = compare_verification(whole, fewer, resamples=50)
    assert (found.compared, found.left_out) == (76, 4)
    other = VerifyScores("x", np.char.add("x", part.names), part.identities, part.genuine, part.folds, part.scores)
    with pytest.raises(InputError, match="no picture in common"):
        compare_verification(whole, other)
    swapped = VerifyScores("x", part.names, part.identities, ~part.genuine, part.folds, part.scores)
    with pytest.raises(InputError, match="not judged on the same pairs"):
        compare_verification(whole, swapped)


def test_identification_by_hand() -> None:
    # a finds 5 of 7 first and all among five, b 2 of 7 and 6.
    found = compare_identification(probes([1, 1, 1, 1, 1, 2, 5]), probes([1, 1, 2, 2, 3, 4, 6]), resamples=300)
    assert found.differences["rank1"].value == pytest.approx(3 / 7)
    assert found.differences["rank5"].value == pytest.approx(1 / 7)
    assert found.differences["rank5"].verdict == "not distinguishable from 0"
    with pytest.raises(InputError, match="galleries differ"):
        compare_identification(probes([1, 1]), probes([1, 1], people=8))
    with pytest.raises(InputError, match="cannot be compared"):
        compare(probes([1]), pairs(0))


def test_several_seeds(tmp_path: Path) -> None:
    files: dict[str, list[Path]] = {"a": [], "b": []}
    for seed, lost in ((0, 4), (1, 12)):
        for side, wrong in (("a", 0), ("b", lost)):
            path = tmp_path / f"{side}{seed}.npz"
            write_scores(path, pairs(wrong, seed=seed))
            files[side].append(path)
    found = paired_difference(files["a"], files["b"], resamples=200)
    assert found.value == pytest.approx((4 / 80 + 12 / 80) / 2) and found.verdict == "above 0"
    alone = compare_verification(pairs(0), pairs(4), resamples=200).differences["accuracy"]
    assert paired_difference(files["a"][:1], files["b"][:1], resamples=200) == alone
    with pytest.raises(InputError, match="cannot be compared"):
        paired_difference(files["a"], files["b"][:1])


def test_seeds_may_have_other_probes(tmp_path: Path) -> None:
    """Two seeds split the pictures differently: each seed's mean counts alike, however many probes it has."""
    ranks = {"a": ([1, 1, 2, 1], [1, 1, 1, 1, 1, 1, 1]), "b": ([2, 1, 2, 1], [1, 2, 2, 2, 2, 1, 1])}
    files = {side: [tmp_path / f"{side}{seed}.npz" for seed in (0, 1)] for side in ranks}
    for side, both in ranks.items():
        for path, own in zip(files[side], both, strict=True):
            write_scores(path, probes(own))
    assert paired_difference(files["a"], files["b"]).value == pytest.approx((1 / 4 + 4 / 7) / 2)


def test_scores_files(tmp_path: Path) -> None:
    path = tmp_path / "kept.npz"
    for kept in (pairs(3), probes([1, 2, 3])):
        write_scores(path, kept)
        back = read_scores(path)
        assert type(back) is type(kept) and back.label == kept.label
        for name, value in kept.__dict__.items():
            np.testing.assert_array_equal(getattr(back, name), value)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ArtefactError, match="not a readable scores file"):
        read_scores(path)
    assert not is_scores(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(ArtefactError):
        read_scores(path)
    with pytest.raises(InputError, match="scores file not found"):
        read_scores(tmp_path / "none.npz")
