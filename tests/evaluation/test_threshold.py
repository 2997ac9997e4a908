"""Thresholds for a false match rate, with embeddings that the pictures spell out."""

from __future__ import annotations

from math import cos, radians
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface.evaluation import Occlusion
from edgeface.evaluation.threshold import calibrate_threshold
from edgeface.evaluation.threshold_store import store_thresholds
from edgeface_calibration.occluders import Occluded
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import Manifest, write_manifest


@pytest.fixture
def people(told: Any) -> Any:
    """Twelve people, twice each: at 15 n and 15 n + 1 degrees. 264 impostor and 12 genuine pairs."""
    for at in range(12):
        told.write(f"P{at:02d}", 15 * at)
        told.write(f"P{at:02d}", 15 * at + 1)
    return told


def angles_between() -> list[int]:
    """Of all impostor pairs, nearest first."""
    placed = [(at, 15 * at + more) for at in range(12) for more in (0, 1)]
    return sorted(abs(a - b) for i, (p, a) in enumerate(placed) for q, b in placed[i + 1 :] if p != q)


def test_by_hand(people: Any) -> None:
    result = calibrate_threshold(people.embedder(), people.root, (0.25, 0.5))
    between = angles_between()
    assert (result.faces, result.people, result.impostor_pairs, result.genuine_pairs) == (24, 12, len(between), 12)
    assert len(between) == 264 and set(result.thresholds) == {"0.25", "0.5"}
    for rate, value in result.thresholds.items():
        accepted = sum(cos(radians(angle)) >= value for angle in between)
        allowed = int(float(rate) * 264)
        assert accepted <= allowed
        # No lower threshold would do: the next distinct impostor score breaks the rate.
        following = between[accepted]
        assert sum(angle <= following for angle in between) > allowed
    assert result.genuine_accepted == {"0.25": 1.0, "0.5": 1.0}
    assert result.thresholds["0.25"] > result.thresholds["0.5"]


def test_one_side_is_covered(people: Any) -> None:
    class Spy(Occlusion):
        def cover(self, image: Any, name: str, landmarks: Any = None) -> Any:
            return Occluded(
                np.zeros_like(image), np.ones(image.shape[:2], bool), "mask"
            )  # covered pictures all become angle 0

    result = calibrate_threshold(people.embedder(), people.root, (0.25,), occlusion=Spy("mask"))
    assert people.calls[1] == [0] * 24 and sorted(people.calls[0])[-1] == 166
    assert result.occlusion == "mask"
    accepted = result.genuine_accepted["0.25"]
    assert accepted is not None and accepted < 1


def test_a_draw_is_seeded(people: Any) -> None:
    drawn = []
    for seed in (0, 0, 1):
        people.calls.clear()
        result = calibrate_threshold(people.embedder(), people.root, (0.5,), limit=20, seed=seed)
        assert result.faces == 20
        drawn.append(people.calls[0])
    assert drawn[0] == drawn[1] != drawn[2]


def test_nobody_twice_has_no_genuine_share(told: Any) -> None:
    for at in range(12):
        told.write(f"P{at:02d}", 10 * at)
    result = calibrate_threshold(told.embedder(), told.root, (0.5,))
    assert (result.genuine_pairs, result.genuine_accepted) == (0, {"0.5": None})


@pytest.mark.parametrize(
    ("rates", "options", "words"),
    [
        ((0.01,), {}, "FMR 0.01 needs 3000 impostor pairs"),
        ((0.5, 0.0), {}, "between 0 and 1"),
        ((float("nan"),), {}, "between 0 and 1"),
        ((0.5,), {"limit": 1}, "--faces must be at least 2"),
        ((0.5,), {"seed": -1}, "--seed at least 0"),
    ],
)
def test_refused_before_the_work(people: Any, rates: tuple[float, ...], options: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        calibrate_threshold(people.embedder(), people.root, rates, **options)
    assert people.calls == []


def test_stored_beside_those_of_other_rates(people: Any, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "recognizer.onnx").write_bytes(b"weights")
    facts: dict[str, Any] = {
        "name": "told",
        "created": "2026-01-02T03:04:05+00:00",
        "models": {"fp32": "recognizer.onnx"},
        "template": tuple((float(x), float(y)) for x, y in TEMPLATE),
        "outputs": ("embedding",),
        "masking": "none",
        "thresholds": {"0.001": 0.9, "0.5": 0.123},
    }
    write_manifest(bundle, Manifest(**facts))
    result = calibrate_threshold(people.embedder(), people.root, (0.5,))
    assert store_thresholds(bundle, result) == {"0.5": 0.123}, "the one it replaces"
    manifest = open_bundle(bundle).manifest
    assert manifest.thresholds == {"0.001": 0.9, "0.5": result.thresholds["0.5"]}
    kept = manifest.extra["calibration"]["0.5"]
    assert (kept["data"], kept["impostor_pairs"], kept["occlusion"]) == (result.data, result.impostor_pairs, "none")
    with pytest.raises(InputError, match="only a bundle folder"):
        store_thresholds(tmp_path / "bundle.tar", result)
