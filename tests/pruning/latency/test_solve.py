"""The knapsack against trying everything."""

from __future__ import annotations

import itertools
import random

import pytest

from edgeface.pruning.latency.solve import cheapest, choose

Choice = tuple[int, ...]


class Case:
    """A small network: neighbouring widths multiply into costs, as convolutions do; the last option may be 0."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.widths = [[4, 3, 2, 1], [4, 3, 2, 1, 0], [4, 3, 2, 1], [4, 3, 2, 1, 0]]
        self.unit = [rng.uniform(0.5, 2) for _ in self.widths]
        self.losses = []
        for options in self.widths:
            steps = [0.0, *(rng.uniform(0.01, 1) for _ in options[1:])]
            self.losses.append(list(itertools.accumulate(steps)))

    def cost(self, choice: Choice) -> float:
        widths = [options[taken] for options, taken in zip(self.widths, choice, strict=True)]
        around = [4, *widths, 4]
        return sum(u * (w * (a + b) + 0.5) for u, w, a, b in zip(self.unit, widths, around, around[2:], strict=False))

    def loss(self, choice: Choice) -> float:
        return sum(options[taken] for options, taken in zip(self.losses, choice, strict=True))

    def all(self) -> list[Choice]:
        return list(itertools.product(*(range(len(options)) for options in self.losses)))


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5, 0.35])
def test_as_good_as_trying_everything(share: float) -> None:
    excess, exact = [], 0
    for seed in range(12):
        case = Case(seed)
        budget = share * case.cost((0, 0, 0, 0))
        best = min(case.loss(choice) for choice in case.all() if case.cost(choice) <= budget)
        found = choose(case.losses, case.cost, budget)
        assert found is not None and case.cost(found) <= budget
        excess.append(case.loss(found) / best - 1)
        exact += case.loss(found) <= best + 1e-9
    assert exact >= 10 and sum(excess) / len(excess) < 0.03


def test_a_budget_that_is_met_changes_nothing_and_an_impossible_one_is_none() -> None:
    case = Case(0)
    assert choose(case.losses, case.cost, case.cost((0, 0, 0, 0))) == (0, 0, 0, 0)
    least = min(map(case.cost, case.all()))
    assert case.cost(cheapest(case.losses, case.cost)) == pytest.approx(least)
    assert choose(case.losses, case.cost, least * 0.99) is None
    found = choose(case.losses, case.cost, least * 1.0001)
    assert found is not None and case.cost(found) == pytest.approx(least, rel=1e-3)
