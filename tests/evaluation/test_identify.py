"""Closed-set identification by hand, with embeddings that the pictures spell out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeface.evaluation import Occlusion, evaluate_identify
from edgeface.evaluation.gallery_split import two_folders
from edgeface_calibration.occluders import Occluded
from edgeface_runtime.errors import InputError


@pytest.fixture
def people(told: Any) -> Any:
    """Enrolled at 0, 20, 40, 60, 80, 100 and 120 degrees; Ann's and Gus's probes land elsewhere."""
    for at, person in enumerate(("Ann", "Bob", "Cid", "Dee", "Eve", "Fay", "Gus")):
        told.write(person, 20 * at)
    told.write("Ann", 23)  # nearest Bob (3), then Cid (17), Ann (23): rank 3
    told.write("Bob", 21)  # rank 1
    told.write("Gus", 5)  # after all the others: rank 7
    return told


def test_ranks_by_hand(people: Any) -> None:
    result = evaluate_identify(people.embedder(), people.root)
    assert (result.rank1, result.rank5) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (result.people, result.probes, result.protocol) == (7, 3, "images rank-1")
    assert result.record()["accuracy"] == pytest.approx(1 / 3, abs=1e-6)


def test_only_probes_are_covered(people: Any) -> None:
    seen: list[str] = []

    class Spy(Occlusion):
        def cover(self, image: Any, name: str, landmarks: Any = None) -> Any:
            seen.append(name)
            return Occluded(
                np.full_like(image, 20), np.ones(image.shape[:2], bool), "mask"
            )  # everybody covered looks like Bob

    result = evaluate_identify(people.embedder(), people.root, occlusion=Spy("mask", seed=7), name="told")
    assert seen == ["Ann/Ann_0002.png", "Bob/Bob_0002.png", "Gus/Gus_0002.png"]
    assert people.calls == [[0, 20, 40, 60, 80, 100, 120], [20, 20, 20]]
    assert result.rank1 == pytest.approx(1 / 3)
    assert (result.protocol, result.occlusion, result.seed) == ("told rank-1 mask", "mask", 7)


def test_few_people(told: Any) -> None:
    for person, angle in (("Ann", 0), ("Ann", 2), ("Bob", 90)):
        told.write(person, angle)
    result = evaluate_identify(told.embedder(), told.root)
    assert (result.rank1, result.rank5, result.people, result.probes) == (1, 1, 2, 1)


def test_nobody_twice(told: Any) -> None:
    told.write("Ann", 0)
    told.write("Bob", 90)
    with pytest.raises(InputError, match="nobody has two pictures"):
        evaluate_identify(told.embedder(), told.root)
    assert told.calls == []


def test_damaged_pictures_are_named(people: Any) -> None:
    (people.root / "Ann" / "text.jpg").write_text("no picture")
    whole = (people.root / "Bob" / "Bob_0002.png").read_bytes()
    (people.root / "Cid" / "cut.png").write_bytes(whole[:60])
    result = evaluate_identify(people.embedder(), people.root)
    assert (result.probes, result.unusable) == (3, 1)
    assert result.failures["Ann/text.jpg"] == "not a picture in spite of its name"
    assert sorted(result.failures) == ["Ann/text.jpg", "Cid/cut.png"]
    both = evaluate_identify(people.embedder(), two_folders(people.root, people.root))
    assert {str(people.root / "Ann" / "text.jpg"), "Cid/cut.png"} == set(both.failures)
