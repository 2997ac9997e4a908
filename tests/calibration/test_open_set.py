"""Open-set rates against counting by hand and against a second, plain implementation."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.open_set import Draw, draw_galleries, open_scores, too_few_strangers
from edgeface_calibration.thresholds import lowest_threshold
from edgeface_runtime.errors import InputError


def test_by_hand() -> None:
    # Pictures 0, 1 are of person 0; 2, 3 of person 1; 4, 5 of person 2, who is not enrolled. Gallery: 0 and 2.
    table = np.zeros((6, 6), np.float32)
    table[1, [0, 2]] = 0.8, 0.3  # found at thresholds up to .8
    table[3, [0, 2]] = 0.7, 0.6  # somebody else is nearer: missed at every threshold
    table[4, [0, 2]] = 0.5, 0.4  # a false alarm up to .5
    table[5, [0, 2]] = 0.1, 0.2
    draw = Draw(np.array([0, 2]), np.array([1, 3]), np.array([4, 5]))
    scores = open_scores(table, [0, 0, 1, 1, 2, 2], [draw])
    assert scores.stranger_best.tolist() == pytest.approx([0.5, 0.2])
    assert scores.stranger_people.tolist() == [2, 2] and scores.mate_people.tolist() == [0, 1]
    for threshold, fpir, fnir in ((0.1, 1.0, 0.5), (0.3, 0.5, 0.5), (0.55, 0.0, 0.5), (0.81, 0.0, 1.0)):
        assert (scores.fpir(threshold), scores.fnir(threshold)) == (fpir, fnir)


def plainly(
    table: np.ndarray, labels: list[int], draws: list[Draw], threshold: float
) -> tuple[float, float, list[float]]:
    """FPIR, FNIR and the strangers' best scores, one probe after the other."""
    alarms, missed, best = [], [], []
    for draw in draws:
        for probe in draw.strangers:
            scores = [float(table[probe, at]) for at in draw.gallery]
            best.append(max(scores))
            alarms.append(max(scores) >= threshold)
        for probe in draw.mates:
            ranked = sorted(((float(table[probe, at]), labels[at]) for at in draw.gallery), reverse=True)
            score, person = ranked[0]
            missed.append(person != labels[probe] or score < threshold)
    return float(np.mean(alarms)), float(np.mean(missed)), best


@pytest.mark.parametrize("seed", range(4))
def test_against_a_plain_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [int(label) for label in rng.integers(0, 12, 60)]
    table = rng.normal(0, 0.2, (60, 60)) + 0.5 * (np.array(labels)[:, None] == labels)
    draws = draw_galleries(labels, None, 3, seed)
    scores = open_scores(table.astype(np.float32), labels, draws)
    for threshold in (-0.1, 0.2, 0.4, 0.7):
        fpir, fnir, best = plainly(table.astype(np.float32), labels, draws, threshold)
        assert (scores.fpir(threshold), scores.fnir(threshold)) == (fpir, fnir)
        assert scores.stranger_best.tolist() == pytest.approx(best)
    limit = lowest_threshold(scores.stranger_best, 0.1)
    assert scores.fpir(limit) <= 0.1
    lower = scores.stranger_best[scores.stranger_best < limit].max()
    assert scores.fpir(lower) > 0.1


def test_draws_are_seeded_and_keep_people_apart() -> None:
    labels = np.repeat(np.arange(10), 3)
    one, again, other = (
        draw_galleries(labels, 4, 2, 0),
        draw_galleries(labels, 4, 2, 0),
        draw_galleries(labels, 4, 2, 1),
    )
    assert [draw.gallery.tolist() for draw in one] == [draw.gallery.tolist() for draw in again]
    assert [draw.gallery.tolist() for draw in one] != [draw.gallery.tolist() for draw in other]
    assert one[0].gallery.tolist() != one[1].gallery.tolist()
    for draw in one:
        enrolled = set(labels[draw.gallery])
        assert len(draw.gallery) == len(enrolled) == 4 and len(draw.mates) == 8 and len(draw.strangers) == 18
        assert set(labels[draw.mates]) == enrolled and not set(labels[draw.strangers]) & enrolled
        assert not set(draw.mates) & set(draw.gallery)


def test_what_the_people_cannot_give_is_refused() -> None:
    labels = np.repeat(np.arange(10), 3)
    with pytest.raises(InputError, match=r"--gallery-size 6 needs 12 people, there are 10: .* at most 5"):
        draw_galleries(labels, 6, 1)
    with pytest.raises(InputError, match="at least 1, got 0"):
        draw_galleries(labels, 0, 1)
    with pytest.raises(InputError, match="needs 4 people, there are 2"):
        draw_galleries([0, 0, 1], None, 1)
    draws = draw_galleries(labels, 5, 3)
    reason = too_few_strangers(draws, 0.1)
    assert reason is not None and "FPIR 0.1 needs 300 probes" in reason and "there are 15" in reason
    assert too_few_strangers(draw_galleries(np.repeat(np.arange(10), 60), 5, 1), 0.1) is None
