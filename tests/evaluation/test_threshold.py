"""Thresholds for a false match rate, with embeddings that the pictures spell out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import cos, radians
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface.evaluation import Occlusion
from edgeface.evaluation.threshold import _det, _Pairs, calibrate_threshold
from edgeface.evaluation.threshold_store import store_thresholds
from edgeface_calibration.occluders import Occluded
from edgeface_calibration.open_set import draw_galleries
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


def table_of(angles: Sequence[int]) -> np.ndarray:
    """Scores of pictures with each other, as the told embedder and float32 give them."""
    turned = np.radians(np.array(angles, np.float64))
    vectors = np.stack([np.cos(turned), np.sin(turned)], 1).astype(np.float32)
    return vectors @ vectors.T


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
    assert manifest.decision.fmr == {"0.5": {"clean": result.thresholds["0.5"]}} and not manifest.decision.fpir
    kept = manifest.extra["calibration"]["0.5"]
    assert (kept["data"], kept["impostor_pairs"], kept["occlusion"]) == (result.data, result.impostor_pairs, "none")
    with pytest.raises(InputError, match="only a bundle folder"):
        store_thresholds(tmp_path / "bundle.tar", result)


class Painted(Occlusion):
    """Covers a picture by painting all of it with one value, which stands for an angle."""

    def __init__(self, kind: str, angle: int) -> None:
        super().__init__(kind)
        self.angle = angle

    def cover(self, image: Any, name: str, landmarks: Any = None) -> Occluded:
        return Occluded(np.full_like(image, self.angle), np.ones(image.shape[:2], bool), self.kind)


def test_several_conditions(people: Any) -> None:
    covers = (None, Painted("mask", 0), Painted("random", 90))
    result = calibrate_threshold(people.embedder(), people.root, (0.25,), conditions=covers)
    alone = [calibrate_threshold(people.embedder(), people.root, (0.25,), occlusion=cover) for cover in covers]
    assert [found.name for found in result.conditions] == ["clean", "mask", "random"]
    each = [found.fmr["0.25"] for found in result.conditions]
    assert [at.threshold for at in each] == [one.thresholds["0.25"] for one in alone]
    assert result.thresholds == {"0.25": max(at.threshold for at in each)}, "the strictest"
    kept = dict(zip(("clean", "mask", "random"), (at.threshold for at in each), strict=True))
    assert result.decision.fmr == {"0.25": kept}
    missed = [at.fnmr for at in each]
    assert all(interval is not None and interval.low <= interval.value <= interval.high for interval in missed)
    assert result.genuine_accepted["0.25"] == min(1 - interval.value for interval in missed if interval is not None)
    clean = each[0].fmr
    scores = table_of([15 * at + more for at in range(12) for more in (0, 1)])
    accepted = sum(
        scores[one, other] >= each[0].threshold for one in range(24) for other in range(one) if one // 2 != other // 2
    )
    assert clean.value == pytest.approx(accepted / 264) and clean.low < clean.value < clean.high


def test_an_open_set_by_hand(told: Any) -> None:
    """Forty people, three pictures each: with one enrolled picture, the probes' best scores are looked up."""
    rng = np.random.default_rng(0)
    angles = {}
    for person in range(40):
        for number in range(3):
            angles[f"P{person:02d}", number + 1] = int(rng.integers(0, 40) + 5 * person)
            told.write(f"P{person:02d}", angles[f"P{person:02d}", number + 1])
    result = calibrate_threshold(told.embedder(), told.root, (0.5,), fpir=(0.5,), gallery_size=20, draws=2)
    assert (result.gallery_size, result.draws, result.stranger_probes, result.mate_probes) == (20, 2, 60, 40)
    many = result.conditions[0].fpir["0.5"]
    placed = sorted(angles)
    scores, labels = table_of([angles[key] for key in placed]), [key[0] for key in placed]
    alarms = probes = missed = mates = 0
    for draw in draw_galleries(np.unique(labels, return_inverse=True)[1], 20, 2, 0):
        for at in range(120):
            if at in draw.gallery:
                continue
            own = [scores[at, other] for other in draw.gallery if labels[other] == labels[at]]
            others = max(scores[at, other] for other in draw.gallery if labels[other] != labels[at])
            if own:
                mates += 1
                missed += own[0] <= others or own[0] < many.threshold  # one as near counts against it
            else:
                probes += 1
                alarms += others >= many.threshold
    assert many.fpir.value == pytest.approx(alarms / probes) and many.fpir.value <= 0.5
    assert many.fnir is not None and many.fnir.value == pytest.approx(missed / mates)
    assert many.fpir.low < many.fpir.value < many.fpir.high
    assert result.decision.fpir["0.5"].templates == 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fpir": (0.5,)}, "FPIR 0.5 needs 60 probes of people not enrolled"),
        ({"fpir": (1.5,)}, "between 0 and 1"),
        ({"fpir": (0.5,), "gallery_size": 7}, "--gallery-size 7 needs 14 people, there are 12"),
        ({"fpir": (0.5,), "draws": 0}, "--draws must be at least 1"),
        ({"conditions": (None, None)}, "one twice"),
        ({"conditions": ()}, "names none"),
    ],
)
def test_an_open_set_is_refused_before_the_work(people: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        calibrate_threshold(people.embedder(), people.root, (0.5,), **options)
    assert people.calls == []


@pytest.mark.parametrize(("covered", "tells"), [(0.9, True), (0.0, False)])
def test_the_covered_share_is_used_where_it_tells(people: Any, covered: float, tells: bool) -> None:
    """Painted pictures are of value 200; what looks at them says `covered` of those."""
    embedder = replace(
        people.embedder(), shares=lambda faces: np.where(faces[:, 0, 0, 0] == 200, covered, 0.1).astype(np.float32)
    )
    result = calibrate_threshold(embedder, people.root, (0.25,), conditions=(None, Painted("mask", 200)))
    clean, mask = result.conditions
    assert (clean.seen_covered, mask.seen_covered) == (0, 1.0 if tells else 0.0)
    assert (result.covered_above is not None) == tells
    if tells:
        assert result.covered_above == pytest.approx(0.1) and result.decision.covered_above == result.covered_above


def test_the_curve_is_that_of_counting() -> None:
    rng = np.random.default_rng(0)
    probe, template = np.tril_indices(60, -1)
    labels = rng.integers(0, 20, 60)
    same, scores = labels[probe] == labels[template], rng.normal(size=len(probe))
    curve = _det(_Pairs(scores, same, probe, template, labels))
    assert len(curve) == 30 and curve[0][0] < 0.02 < 0.098 < curve[-1][0] <= 0.1
    for fmr, fnmr in curve:
        refused = sorted(scores[~same])[::-1][round(fmr * (~same).sum())]  # the nearest impostor that is refused
        assert fnmr == np.mean(scores[same] <= refused)
