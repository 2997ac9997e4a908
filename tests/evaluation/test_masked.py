"""Matching by a dictionary: worked out by hand on a network of one line, and against a second implementation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeface.evaluation import Occlusion, evaluate_identify, evaluate_pairs
from edgeface.evaluation.masked import DictionaryMatcher, Parts, exact_look, segmented_look
from edgeface_calibration.occluders import Occluded
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.errors import InputError
from edgeface_runtime.regions import FACE_REGIONS, Region

LEFT, RIGHT = Region("left", (0, 0, 48, 112)), Region("right", (48, 0, 96, 112))


def two_halves() -> MaskDictionary:
    """Features are (3, 1, 1): a left half, a right half and one of both. A covered half takes its own away."""
    masks = np.array([[0, 1, 1], [1, 0, 1]], bool).reshape(2, 3, 1, 1)
    return MaskDictionary("grid", (LEFT, RIGHT), masks, (112, 96))


def parts() -> Parts:
    """Features are the grey of both halves and 50; the head only makes them unit length."""

    def features(faces: np.ndarray) -> np.ndarray:
        grey = faces.mean(3)
        constant = np.full(len(faces), 50.0)
        found = np.stack([grey[:, :, :48].mean((1, 2)), grey[:, :, 48:].mean((1, 2)), constant], 1)
        return found[..., None, None].astype(np.float32)

    def head(rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(len(rows), -1)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    return Parts(features, head, {"backend": "halves"})


def exact() -> DictionaryMatcher:
    return DictionaryMatcher(two_halves(), parts(), exact_look(two_halves()), "exact")


class Hand(Occlusion):
    """Paints the half that the picture's number says: even numbers the left one, odd ones none."""

    def __init__(self) -> None:
        super().__init__("mask")

    def cover(self, image: Any, name: str, landmarks: Any = None) -> Occluded:
        mask = np.zeros((112, 96), bool)
        image = image.copy()
        if int(Path(name).stem[-1]) % 2 == 0:
            image[:, :48], mask[:, :48] = 255, True
        return Occluded(image, mask, "mask")


def write(root: Path, person: str, halves: list[tuple[int, int]]) -> None:
    (root / person).mkdir(parents=True)
    for number, (left, right) in enumerate(halves, 1):
        image = np.empty((112, 96, 3), np.uint8)
        image[:, :48], image[:, 48:] = left, right
        cv2.imwrite(str(root / person / f"{person}_{number:04d}.png"), image)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for person, halves in {
        "Ann": [(10, 200), (10, 200), (10, 200)],
        "Bob": [(200, 10), (200, 10), (200, 10)],
        "Cid": [(100, 100), (100, 100), (100, 100)],
    }.items():
        write(tmp_path / "images", person, halves)
    return tmp_path / "images"


def unit(*values: float) -> np.ndarray:
    return np.array(values) / np.linalg.norm(values)


def test_pair_scores_by_hand(images: Path, pairs_file: Callable[[str], Path]) -> None:
    text = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t2\nBob\t1\t3\nBob\t1\tCid\t2\n"
    result = evaluate_pairs(exact(), images, pairs_file(text), occlusion=Hand())
    # The second picture's left half is covered, so both sides are compared by (right, 50): but for Bob's third.
    wanted = [
        unit(200, 50) @ unit(200, 50),
        unit(200, 50) @ unit(10, 50),
        1.0,
        unit(10, 50) @ unit(100, 50),
    ]
    np.testing.assert_allclose(result.scores.scores, wanted, atol=1e-3)
    assert (result.protocol, result.masking) == ("set mask by grid", "grid")
    assert result.ran_on["region_covered"] == {"left": 0.75, "right": 0.0}
    assert (result.ran_on["combinations"], result.ran_on["uncovered_probes"]) == (2, 1)


def test_discarded_features_become_the_mean_on_both_sides(images: Path, pairs_file: Callable[[str], Path]) -> None:
    mean = np.array([100.0, 40.0, 60.0], np.float16).reshape(3, 1, 1)
    dictionary = replace(two_halves(), mean=mean, discarded="mean")
    matcher = DictionaryMatcher(dictionary, parts(), exact_look(dictionary), "exact")
    text = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t2\nBob\t1\t3\nBob\t1\tCid\t2\n"
    result = evaluate_pairs(matcher, images, pairs_file(text), occlusion=Hand())
    # As above, but the covered left half counts as 100 on both sides.
    wanted = [
        unit(100, 200, 50) @ unit(100, 200, 50),
        unit(100, 200, 50) @ unit(100, 10, 50),
        1.0,
        unit(100, 10, 50) @ unit(100, 100, 50),
    ]
    np.testing.assert_allclose(result.scores.scores, wanted, atol=1e-3)
    assert result.ran_on["discarded"] == "mean"


def test_identification_is_saved_by_the_dictionary(images: Path) -> None:
    # Unmasked, Ann's covered second picture is (255, 200, 50): cosine .98 with Cid, .82 with Bob, .67 with Ann.
    plain = DictionaryMatcher(two_halves(), parts(), lambda shots: [(False, False)] * len(shots), "nothing")
    blind = evaluate_identify(plain, images, occlusion=Hand())
    seeing = evaluate_identify(exact(), images, occlusion=Hand())
    names = seeing.scores.names.tolist()
    assert blind.scores.ranks[names.index("Ann/Ann_0002.png")] == 3
    assert seeing.rank1 == 1.0 and seeing.probes == 6
    assert seeing.protocol == "images rank-1 mask by grid"


def test_a_segmenter_sees_what_the_occluder_hides(images: Path) -> None:
    def segment(faces: np.ndarray) -> np.ndarray:
        return np.asarray((faces == 255).all(3))

    found = DictionaryMatcher(two_halves(), parts(), segmented_look(two_halves(), segment), "white")
    result = evaluate_identify(found, images, occlusion=Hand())
    assert result.scores.ranks.tolist() == evaluate_identify(exact(), images, occlusion=Hand()).scores.ranks.tolist()


def test_nothing_left_is_refused(images: Path, pairs_file: Callable[[str], Path]) -> None:
    masks = np.zeros((2, 3, 1, 1), bool)
    nothing = MaskDictionary("grid", (LEFT, RIGHT), masks, (112, 96))
    matcher = DictionaryMatcher(nothing, parts(), exact_look(nothing), "exact")
    result = evaluate_identify(matcher, images, occlusion=Hand())
    covered = [name.endswith("2.png") for name in result.scores.names]
    assert (result.scores.ranks == 3).tolist() == covered, "the right person comes last where nothing is left"
    assert result.ran_on["refused_probes"] == 3
    pairs = evaluate_pairs(
        matcher, images, pairs_file("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t3\nBob\t1\t3\nBob\t1\tCid\t3\n"), occlusion=Hand()
    )
    assert pairs.scores.scores[0] == -1 and (pairs.scores.scores[1:] > 0).all()


def test_a_dictionary_of_another_network(images: Path) -> None:
    other = MaskDictionary("grid", (LEFT,), np.ones((1, 4, 1, 1), bool), (112, 96))
    matcher = DictionaryMatcher(other, parts(), exact_look(other), "exact")
    with pytest.raises(InputError, match="made for another one"):
        evaluate_identify(matcher, images, occlusion=Hand())


def test_equals_the_network_masked_by_hand(images: Path) -> None:
    """head(FDM * top map), the product over the covered regions written out, the probe's FDM on both sides."""
    torch = pytest.importorskip("torch")
    from edgeface.evaluation.open_matcher import torch_parts
    from edgeface.evaluation.pictures import Pictures
    from edgeface.models import FaceNet, build_spec
    from edgeface.training.step import to_input

    torch.manual_seed(0)
    model = FaceNet(build_spec("iresnet18", 0.125)).eval()
    spec = model.spec
    rng = np.random.default_rng(0)
    shape = (2, spec.top_channels, *spec.top_size)
    dictionary = MaskDictionary("grid", (LEFT, RIGHT), rng.uniform(size=shape) < 0.6, (112, 96))
    matcher = DictionaryMatcher(dictionary, torch_parts(model), exact_look(dictionary), "exact")
    paths = sorted(images.rglob("*.png"))
    with Pictures(images) as pictures:
        gallery = matcher.encode(pictures, paths)
        probes = matcher.encode(pictures, paths, Hand(), probe=True)
        crops = np.stack([pictures.read(path).crop for path in paths])
        hidden = np.stack([pictures.read(path, Hand()).crop for path in paths])
    assert any(any(key) for key in probes.covered) and not all(any(key) for key in probes.covered)

    def embed(faces: np.ndarray, covered: tuple[bool, ...]) -> np.ndarray:
        keep = np.ones(shape[1:], bool)
        for region, on in enumerate(covered):
            if on:
                keep &= dictionary.masks[region]
        with torch.no_grad():
            top = model.top_map(to_input(torch.from_numpy(faces)).contiguous())
            found = model.head(top * torch.from_numpy(keep)).numpy()
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    wanted = np.stack(
        [(embed(hidden[i : i + 1], key) @ embed(crops, key).T)[0] for i, key in enumerate(probes.covered)]
    )
    found = np.zeros_like(wanted)
    for rows, scores in matcher.probe_scores(gallery, probes):
        found[rows] = scores
    np.testing.assert_allclose(found, wanted, atol=1e-3)  # features are kept in half precision
    every = np.array([(i, i) for i in range(len(paths))])
    np.testing.assert_allclose(matcher.pair_scores(gallery, probes, every), wanted.diagonal(), atol=1e-3)


def test_a_face_whose_landmarks_coincide_is_left_out(images: Path) -> None:
    regions = tuple(Region(name, (0, 0, 96, 112)) for name in FACE_REGIONS)
    per_face = MaskDictionary("lmface", regions, np.ones((6, 3, 1, 1), bool), (112, 96), per_face=True)
    points = [[30, 50], [66, 50], [48, 70], [34, 90], [62, 90]]
    table = {path.relative_to(images).as_posix(): points for path in images.rglob("*.png")}
    (images / "landmarks.json").write_text(json.dumps({**table, "Ann/Ann_0002.png": [[40, 60]] * 5}))
    matcher = DictionaryMatcher(per_face, parts(), segmented_look(per_face, lambda f: f.all(3)), "all")
    result = evaluate_identify(matcher, images)
    assert result.probes == 5 and list(result.failures) == ["Ann/Ann_0002.png"]
    assert "coincide" in result.failures["Ann/Ann_0002.png"]
