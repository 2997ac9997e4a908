"""The best people from loose bounds: the same as from all scores, however far off the bounds are."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_runtime.gallery_rank import best_people


@pytest.mark.parametrize("slack", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("top", [1, 5, 60])
@pytest.mark.parametrize("people", [3, 400, 20_000])
def test_loose_bounds_change_nothing(slack: float, top: int, people: int) -> None:
    rng = np.random.default_rng(people + top)
    rows = rng.standard_normal((20_000, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    names = [f"p{owner:05d}" for owner in rng.integers(people, size=len(rows))]
    ids = np.arange(len(rows)) * 3 + 7
    probe = rows[11]
    exact = rows.astype(np.float64) @ probe.astype(np.float64)
    bounds = np.nextafter((exact + slack * rng.random(len(rows))).astype(np.float32), np.float32(2))
    gone = rng.random(len(rows)) < 0.1
    bounds[gone] = -np.inf
    fetched: list[int] = []

    def fetch(wanted: np.ndarray) -> tuple[list[str], np.ndarray]:
        chosen = (wanted - 7) // 3
        assert not gone[chosen].any()
        fetched.extend(chosen.tolist())
        return [names[row] for row in chosen], rows[chosen]

    best: dict[str, float] = {}
    for row in np.flatnonzero(~gone):
        best[names[row]] = max(best.get(names[row], -2.0), float(exact[row]))
    wanted = sorted(best.items(), key=lambda entry: (-entry[1], entry[0]))[:top]
    found = best_people(bounds, ids, probe, top, fetch)
    assert [name for name, _ in found] == [name for name, _ in wanted]
    assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1e-12)
    assert len(fetched) == len(set(fetched))
    if slack == 0 and people > top:
        assert len(fetched) < 4000


def test_a_row_that_has_gone_meanwhile_is_passed_over() -> None:
    found = best_people(
        np.array([0.9, 0.8], np.float32),
        np.array([1, 2]),
        np.array([1, 0], np.float32),
        5,
        lambda ids: (["ann"], np.array([[0.5, 0]], np.float32)),
    )
    assert found == [("ann", 0.5)]
