"""The mask dictionary: product by hand, file round trip, damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime.dictionary import MaskDictionary, load_dictionary
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.regions import Region, face_regions

POINTS = np.array([(30.0, 50.0), (66.0, 50.0), (48.0, 70.0), (33.0, 92.0), (63.0, 92.0)])


def small() -> MaskDictionary:
    """Two regions, one channel of 2x2."""
    masks = np.array([[[[1, 1], [0, 1]]], [[[1, 0], [1, 1]]]], bool)
    regions = (Region("left", (0.0, 0.0, 2.0, 4.0)), Region("right", (2.0, 0.0, 4.0, 4.0)))
    return MaskDictionary("lm2", regions, masks, (4, 4), extra={"tau": 0.25})


def test_fdm_is_the_product_of_the_covered_regions() -> None:
    found = small()
    assert found.fdm([False, False]).tolist() == [[[True, True], [True, True]]]
    assert found.fdm([True, False]).tolist() == [[[True, True], [False, True]]]
    assert found.fdm([True, True]).tolist() == [[[True, False], [False, True]]]
    assert found.fdm((True, True)).dtype == np.bool_
    with pytest.raises(InputError, match="2 regions, got 3"):
        found.fdm([True, True, True])


def test_covered_by_a_segmentation() -> None:
    mask = np.zeros((4, 4), bool)
    mask[:, 2:] = True
    assert small().covered(mask) == (False, True)
    with pytest.raises(InputError, match="crop's size"):
        small().covered(np.zeros((4, 5), bool))


def test_per_face_regions_follow_landmarks() -> None:
    masks = np.ones((6, 3, 7, 6), bool)
    found = MaskDictionary("lmface", face_regions(POINTS, (16, 16)), masks, (112, 96), per_face=True)
    assert found.cell == (16, 16)
    assert found.regions_for() == found.regions
    moved = found.regions_for(POINTS + np.array((5, 0)))
    assert moved[0].box[0] == pytest.approx(found.regions[0].box[0] + 5)
    assert small().regions_for(POINTS) == small().regions, "other kinds stay where they are"


def test_discarded_features_become_their_mean_or_zero() -> None:
    features = np.array([[[[1.0, 2.0], [3.0, 4.0]]], [[[5.0, 6.0], [7.0, 8.0]]]], np.float16)
    keep = np.array([[[True, False], [False, True]]])
    plain = small()
    assert plain.discard(features, keep).tolist() == [[[[1, 0], [0, 4]]], [[[5, 0], [0, 8]]]]
    mean = np.array([[[9.0, 10.0], [11.0, 12.0]]], np.float16)
    found = replace(plain, mean=mean, discarded="mean").discard(features, keep)
    assert found.tolist() == [[[[1, 10], [11, 4]]], [[[5, 10], [11, 8]]]] and found.dtype == np.float32
    known = replace(plain, mean=mean).discard(features, keep)
    assert known.tolist() == plain.discard(features, keep).tolist(), "a known mean is not used unasked"


def test_file_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((2, 5, 7, 3)) < 0.5
    mean = rng.normal(size=(5, 7, 3)).astype(np.float16)
    before = MaskDictionary(
        "grid",
        small().regions,
        masks,
        (112, 48),
        mean=mean,
        discarded="mean",
        extra={"name": "Zoë", "deep": [1, {"a": None}]},
    )
    before.save(tmp_path / "d.npz")
    after = load_dictionary(tmp_path / "d.npz")
    assert (after.masks == masks).all() and after.masks.dtype == np.bool_
    assert after.mean is not None and (after.mean == mean).all() and after.discarded == "mean"
    assert (after.kind, after.regions, after.input_size, after.per_face, after.extra) == (
        before.kind,
        before.regions,
        before.input_size,
        before.per_face,
        before.extra,
    )


def test_contradictions_are_refused() -> None:
    one = small()
    with pytest.raises(ValueError, match="unknown dictionary kind"):
        MaskDictionary("lm9", one.regions, one.masks, (4, 4))
    with pytest.raises(ValueError, match="1 regions but 2 masks"):
        MaskDictionary("grid", one.regions[:1], one.masks, (4, 4))
    with pytest.raises(ValueError, match="one name"):
        MaskDictionary("grid", (one.regions[0],) * 2, one.masks, (4, 4))
    with pytest.raises(ValueError, match="keeps the features' mean"):
        replace(one, discarded="mean")
    with pytest.raises(ValueError, match="unknown --discarded 'noise'"):
        replace(one, discarded="noise")
    for mean in (np.zeros((1, 2, 3), np.float16), np.full((1, 2, 2), np.nan, np.float16)):
        with pytest.raises(ValueError, match="mean must be finite"):
            replace(one, mean=mean)
    with pytest.raises(ValueError, match="per face"):
        MaskDictionary("lmface", one.regions, one.masks, (4, 4))


def test_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    with pytest.raises(InputError, match="not found"):
        load_dictionary(path)
    small().save(path)
    good = path.read_bytes()
    for bad in (b"", b"hello", good[: len(good) // 2], good[:-30]):
        path.write_bytes(bad)
        with pytest.raises(ArtefactError, match="dictionary"):
            load_dictionary(path)
    np.savez(path, header=np.frombuffer(b'{"format": "x"}', np.uint8), masks=np.zeros(1, np.uint8))
    with pytest.raises(ArtefactError, match="no edgeface mask dictionary"):
        load_dictionary(path)
    newer = b'{"format": "edgeface-dictionary", "version": 3}'
    np.savez(path, header=np.frombuffer(newer, np.uint8), masks=np.zeros(1, np.uint8))
    with pytest.raises(ArtefactError, match="version 3, not 2: upgrade"):
        load_dictionary(path)
    np.savez(path, header=np.array([{"a": 1}], dtype=object), masks=np.zeros(1, np.uint8))
    with pytest.raises(ArtefactError, match="damaged or foreign"):
        load_dictionary(path)  # a pickle inside is not unpacked


def test_every_byte_counts(tmp_path: Path) -> None:
    """Masks of another size than the header says are refused."""
    import json

    path = tmp_path / "d.npz"
    small().save(path)
    with np.load(path) as arrays:
        header = json.loads(arrays["header"].tobytes())
        masks = arrays["masks"]
    header["shape"] = [2, 1, 2, 200]
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), masks=masks)
    with pytest.raises(ArtefactError, match="size the header says"):
        load_dictionary(path)
