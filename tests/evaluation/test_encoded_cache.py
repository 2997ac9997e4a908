"""Codes out of the cache are those that were computed, bit for bit; anything else than before is computed anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeface.evaluation import Occlusion, evaluate_identify, evaluate_pairs
from edgeface.evaluation.encoded_cache import CachedMatcher, network_facts
from edgeface.evaluation.masked import DictionaryMatcher, Parts, exact_look
from edgeface.evaluation.matching import PlainMatcher
from edgeface.evaluation.pictures import Pictures
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.errors import InputError
from edgeface_runtime.regions import Region

NETWORK = {"checkpoint": "abc"}


@pytest.fixture
def paths(told: Any) -> list[Path]:
    """Pictures of three people, one of them damaged."""
    found = [told.write(person, 10 * at) for at, person in enumerate(("Ann", "Ann", "Bob", "Bob", "Cid", "Cid"), 1)]
    found[3].write_bytes(b"no picture\n")
    return found


def encode(
    told: Any, folder: Path, paths: list[Path], network: dict[str, Any] = NETWORK
) -> tuple[Any, CachedMatcher]:
    matcher = CachedMatcher(PlainMatcher(told.embedder()), folder, network)
    with Pictures(told.root) as pictures:
        return matcher.encode(pictures, paths), matcher


def features_of(calls: list[int], kind: str, keep: float) -> DictionaryMatcher:
    """A dictionary on a network whose features are the grey of a face, 2 and 3; `calls` counts its pictures."""

    def features(faces: np.ndarray) -> np.ndarray:
        calls.append(len(faces))
        grey = faces.mean((1, 2, 3)) / 3
        found = np.stack([grey, np.full(len(faces), 2.0), np.full(len(faces), 3.0)], 1)
        return found[..., None, None].astype(np.float32)

    def head(rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(len(rows), -1)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    masks = np.array([1, keep, 1], bool).reshape(1, 3, 1, 1)
    dictionary = MaskDictionary(kind, (Region("all", (0, 0, 96, 112)),), masks, (112, 96))
    return DictionaryMatcher(dictionary, Parts(features, head, {"backend": "grey"}), exact_look(dictionary), "exact")


def test_taken_bit_for_bit_failures_as_well(told: Any, paths: list[Path], tmp_path: Path) -> None:
    with Pictures(told.root) as pictures:
        plain = PlainMatcher(told.embedder()).encode(pictures, paths)
    first, made = encode(told, tmp_path / "cache", paths)
    told.calls.clear()
    again, kept = encode(told, tmp_path / "cache", paths)
    assert not told.calls and (made.taken, made.put) == (0, 5) and (kept.taken, kept.put) == (5, 0)
    assert list(plain.failed) == [paths[3]]
    for found in (first, again):
        assert (found.paths, found.failed, found.covered) == (plain.paths, plain.failed, plain.covered)
        assert found.codes.dtype == plain.codes.dtype and found.codes.tobytes() == plain.codes.tobytes()
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".npz"] and not kept.notes


def test_progress_reaches_the_end(told: Any, paths: list[Path], tmp_path: Path) -> None:
    encode(told, tmp_path, paths)
    seen: list[tuple[int, int]] = []
    with Pictures(told.root) as pictures:
        CachedMatcher(PlainMatcher(told.embedder()), tmp_path, NETWORK).encode(
            pictures, paths, progress=lambda done, total: seen.append((done, total))
        )
    assert seen == [(6, 6)]


def changed_picture(paths: list[Path]) -> None:
    cv2.imwrite(str(paths[0]), np.full((112, 96, 3), 77, np.uint8))


def touched_picture(paths: list[Path]) -> None:
    os.utime(paths[0], ns=(1, 1))


def mended_picture(paths: list[Path]) -> None:
    cv2.imwrite(str(paths[3]), np.full((112, 96, 3), 40, np.uint8))


def new_rights(paths: list[Path]) -> None:
    paths[0].chmod(0o640 if paths[0].stat().st_mode & 0o777 != 0o640 else 0o600)


@pytest.mark.parametrize("change", [changed_picture, touched_picture, mended_picture, new_rights])
def test_a_picture_that_changed_is_embedded_again(
    told: Any, paths: list[Path], tmp_path: Path, change: Callable[[list[Path]], None]
) -> None:
    encode(told, tmp_path / "cache", paths)
    change(paths)
    found, matcher = encode(told, tmp_path / "cache", paths)
    assert matcher.taken == 0 and matcher.put == len(found.paths)
    with Pictures(told.root) as pictures:
        wanted = PlainMatcher(told.embedder()).encode(pictures, paths)
    assert found.paths == wanted.paths and found.codes.tobytes() == wanted.codes.tobytes()


def test_anything_else_is_embedded_again(told: Any, paths: list[Path], tmp_path: Path) -> None:
    encode(told, tmp_path / "cache", paths)
    assert encode(told, tmp_path / "cache", paths, {"checkpoint": "abd"})[1].taken == 0
    assert encode(told, tmp_path / "cache", paths[:-1])[1].taken == 0
    assert encode(told, tmp_path / "cache", paths[::-1])[1].taken == 0
    elsewhere = CachedMatcher(PlainMatcher(told.embedder()), tmp_path / "cache", NETWORK)
    elsewhere.coded = {**elsewhere.coded, "backend": "another"}
    with Pictures(told.root) as pictures:
        elsewhere.encode(pictures, paths)
    with Pictures(told.root, detect=True) as photographs, pytest.raises(InputError, match="none of 6"):
        CachedMatcher(PlainMatcher(told.embedder()), tmp_path / "cache", NETWORK).encode(photographs, paths)
    assert elsewhere.taken == 0 and encode(told, tmp_path / "cache", paths)[1].taken == 5


def test_probes_and_covered_pictures_are_not_kept(told: Any, paths: list[Path], tmp_path: Path) -> None:
    matcher = CachedMatcher(PlainMatcher(told.embedder()), tmp_path / "cache", NETWORK)
    with Pictures(told.root) as pictures:
        matcher.encode(pictures, paths, Occlusion("random", 0.1))
        matcher.encode(pictures, paths, probe=True)
    assert not (tmp_path / "cache").exists() and (matcher.taken, matcher.put) == (0, 0)


def test_dictionaries_of_one_trunk_share_its_features(
    told: Any, paths: list[Path], tmp_path: Path, pairs_file: Callable[[str], Path]
) -> None:
    for file in paths[3:4]:
        cv2.imwrite(str(file), np.full((112, 96, 3), 40, np.uint8))
    pairs = pairs_file("2\t1\nAnn\t1\t2\nAnn\t1\tBob\t2\nBob\t1\t2\nBob\t1\tCid\t2\n")
    calls: list[int] = []
    for number, (kind, keep) in enumerate((("lm1", 0), ("lm2", 1))):
        for occlusion in (None, Occlusion("random", 0.3)):
            bare = evaluate_pairs(features_of([], kind, keep), told.root, pairs, occlusion=occlusion)
            matcher = CachedMatcher(features_of(calls, kind, keep), tmp_path / "cache", NETWORK)
            calls.clear()
            found = evaluate_pairs(matcher, told.root, pairs, occlusion=occlusion)
            first = number == 0 and occlusion is None
            assert calls == ([2, 3] if first else [3]) and (matcher.taken, matcher.put) == (
                (0, 2) if first else (2, 0)
            )
            assert found.to_dict() == bare.to_dict()
            assert found.scores.scores.tobytes() == bare.scores.scores.tobytes()
    _, plain = encode(told, tmp_path / "cache", paths[::2])
    assert plain.taken == 0, "embeddings are no features"


def test_identification_is_the_same(told: Any, paths: list[Path], tmp_path: Path) -> None:
    bare = evaluate_identify(PlainMatcher(told.embedder()), told.root)
    for taken in (0, 3):
        matcher = CachedMatcher(PlainMatcher(told.embedder()), tmp_path / "cache", NETWORK)
        assert evaluate_identify(matcher, told.root).to_dict() == bare.to_dict() and matcher.taken == taken


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[data.rindex(b"\x93NUMPY") + 140] ^= 1  # inside the codes
    file.write_bytes(data)


def foreign(file: Path) -> None:
    np.savez(file, rows=np.arange(3))


def pickled(file: Path) -> None:
    np.savez(file, head=np.array([{}], object), codes=np.zeros(5))


def array(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.arange(3))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, flip, foreign, pickled, array, emptied])
def test_a_damaged_file_is_told_and_made_anew(
    told: Any, paths: list[Path], tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    wanted, _ = encode(told, tmp_path / "cache", paths)
    file = next((tmp_path / "cache").iterdir())
    harm(file)
    found, matcher = encode(told, tmp_path / "cache", paths)
    assert matcher.notes == [f"{file} is damaged or no file of codes: made anew"]
    assert (matcher.taken, matcher.put) == (0, 5) and found.codes.tobytes() == wanted.codes.tobytes()
    assert encode(told, tmp_path / "cache", paths)[1].taken == 5


def test_a_file_under_another_name(told: Any, paths: list[Path], tmp_path: Path) -> None:
    encode(told, tmp_path / "cache", paths)
    mine = next((tmp_path / "cache").iterdir())
    encode(told, tmp_path / "cache", paths, {"checkpoint": "abd"})
    (other,) = set((tmp_path / "cache").iterdir()) - {mine}
    other.replace(mine)
    _, matcher = encode(told, tmp_path / "cache", paths)
    assert matcher.taken == 0 and "made anew" in matcher.notes[0]


def test_what_cannot_be_kept_is_told_and_measured_all_the_same(told: Any, paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found, matcher = encode(told, tmp_path / "file" / "cache", paths)
    assert len(found.paths) == 5 and matcher.put == 0
    assert len(matcher.notes) == 1 and "codes are not kept: cannot write" in matcher.notes[0]


def test_networks_are_told_apart_by_content(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    a.write_bytes(b"one")
    b.write_bytes(b"two")
    c.write_bytes(b"one")
    assert network_facts(a) == network_facts(c) != network_facts(b)
