"""Comparing bundles: what stands side by side, on which faces, and how outputs are judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.workflows.compare import CompareSettings, compare
from edgeface.workflows.compare_faces import gather_faces
from edgeface.workflows.compare_outputs import agreement
from edgeface.workflows.compare_sides import choose_sides
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import InputSpec, Manifest, write_manifest

MANIFEST = Manifest(
    name="net",
    created="2026-01-02T03:04:05+00:00",
    models={"fp32": "recognizer.onnx", "int8": "int8.onnx", "int8-cpu": "cpu.onnx"},
    template=((1.0, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.0)),
    arch={"name": "iresnet50"},
)


def bundle(folder: Path, manifest: Manifest = MANIFEST, content: bytes = b"a") -> Path:
    """A bundle whose graphs are a few bytes: enough until one is loaded."""
    folder.mkdir()
    for name in manifest.models.values():
        (folder / name).write_bytes(content)
    write_manifest(folder, manifest)
    return folder


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_one_bundle_is_compared_precision_by_precision(tmp_path: Path) -> None:
    sides = choose_sides([bundle(tmp_path / "a")], (), ("onnxruntime",), "auto")
    assert [(side.label, side.model) for side in sides] == [("fp32", "fp32"), ("int8", "int8-cpu")]
    on_gpu = choose_sides([tmp_path / "a"], ("fp32", "int8"), ("onnxruntime",), "cuda")
    assert [side.model for side in on_gpu] == ["fp32", "int8"]


def test_sides_are_named_by_what_differs(tmp_path: Path) -> None:
    a, b = bundle(tmp_path / "a"), bundle(tmp_path / "b", replace(MANIFEST, name="other"))
    assert [side.label for side in choose_sides([a, b], (), ("onnxruntime",), "auto")] == ["net", "other"]
    four = choose_sides([a, b], ("fp32", "int8"), ("onnxruntime",), "auto")
    assert [side.label for side in four] == ["net fp32", "net int8", "other fp32", "other int8"]
    alike = choose_sides([a, bundle(tmp_path / "c")], (), ("onnxruntime",), "auto")
    assert [side.label for side in alike] == [str(a), str(tmp_path / "c")]
    two = choose_sides([a], ("fp32",), ("onnxruntime", "tensorrt"), "auto")
    assert [side.label for side in two] == ["onnxruntime", "tensorrt"]


@pytest.mark.parametrize(
    ("precisions", "backends", "words"),
    [
        (("fp32",), ("onnxruntime",), "is one thing: name a second bundle"),
        (("fp8", "fp32"), ("onnxruntime",), "unknown --precision 'fp8'"),
        (("fp32", "fp16"), ("onnxruntime",), "has no fp16 model"),
        ((), ("best",), "unknown backend 'best'"),
    ],
)
def test_nothing_to_compare(
    tmp_path: Path, precisions: tuple[str, ...], backends: tuple[str, ...], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        choose_sides([bundle(tmp_path / "a")], precisions, backends, "auto")


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    first = bundle(tmp_path / "a")
    larger = bundle(tmp_path / "b", replace(MANIFEST, name="b", input=InputSpec(112, 112)), b"b")
    moved = bundle(tmp_path / "c", replace(MANIFEST, name="c", template=((9.0, 2.0), *MANIFEST.template[1:])), b"c")
    other = bundle(tmp_path / "d", replace(MANIFEST, name="d", arch={"name": "iresnet18"}), b"d")
    trained = bundle(tmp_path / "e", replace(MANIFEST, name="e"), b"e")
    sides = [choose_sides([first, path], (), ("onnxruntime",), "auto") for path in (larger, moved, other, trained)]
    assert [a.apart(b) for a, b in sides] == [
        "net and b take faces of another input",
        "net and c take faces of another alignment template",
        "",
        "",
    ]
    assert [a.other_network(b) for a, b in sides[2:]] == ["net and d are different networks", ""]
    with pytest.raises(InputError, match="--gate is on the cosine of embeddings, and net and d are different"):
        compare([first, other], CompareSettings(), cosine_needed=True)


def test_agreement_by_hand() -> None:
    first = unit([[1, 0], [0, 1], [1, 1]])
    other = unit([[1, 0], [0, 1], [1, 0]])
    found = agreement(first, other, np.array([0, 1, 0]), by_cosine=True)
    root = np.sqrt(0.5)
    assert found.cosine_min == pytest.approx(root)
    assert found.cosine_mean == pytest.approx((2 + root) / 3)
    assert found.cosine_p1 == pytest.approx(root + 0.02 * (1 - root))
    # Pairs 01, 02, 12: scores 0, .707, .707 and 0, 1, 0.
    assert found.score_correlation == pytest.approx(0.5)
    assert found.score_change_max == pytest.approx(root)
    assert found.genuine_mean == pytest.approx((root, 1))
    assert found.impostor_mean == pytest.approx((root / 2, 0))


def test_agreement_of_different_networks_is_by_scores() -> None:
    rotated = unit([[0, 1, 0], [1, 0, 0], [1, 1, 0]])
    found = agreement(unit([[1, 0], [0, 1], [1, 1]]), rotated, None, by_cosine=False)
    assert (found.cosine_mean, found.genuine_mean) == (None, None)
    assert found.score_correlation == pytest.approx(1)
    assert found.score_change_max == pytest.approx(0, abs=1e-6)
    alike = agreement(unit([[1, 0], [1, 0]]), unit([[1, 0], [0, 1]]), None, by_cosine=True)
    assert alike.score_correlation is None


def test_drawn_faces_come_in_people() -> None:
    found = gather_faces(None, 9, (56, 48))
    assert found.crops.shape == (9, 56, 48, 3)
    assert found.people is not None and found.people.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert len({crop.tobytes() for crop in found.crops}) == 9


def test_faces_of_folders(tmp_path: Path) -> None:
    shades = iter(range(20, 220, 10))
    for person, pictures in (("ann", 6), ("bob", 2)):
        (tmp_path / "people" / person).mkdir(parents=True)
        for number in range(pictures):
            picture = np.full((112, 96, 3), next(shades), np.uint8)
            cv2.imwrite(str(tmp_path / "people" / person / f"{number}.png"), picture)
    known = gather_faces(tmp_path / "people", 6, (112, 96))
    assert known.people is not None and sorted(known.people) == [0, 0, 0, 0, 1, 1]
    assert known.source == "6 faces of people"
    unknown = gather_faces(tmp_path / "people" / "ann", 99, (112, 96))
    assert (unknown.people, len(unknown.crops)) == (None, 6)
    with pytest.raises(InputError, match="not a crop of 112 wide, 112 high: run `edgeface data align"):
        gather_faces(tmp_path / "people", 4, (112, 112))
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds 0 readable faces, two are needed"):
        gather_faces(tmp_path / "none", 4, (112, 96))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batches": (0,)}, "--batch takes sizes"),
        ({"rounds": 0}, "--rounds must be at least 1"),
        ({"count": 1}, "--count must be at least 2"),
        ({"threads": -1}, "--threads must be at least 0"),
    ],
)
def test_settings(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        CompareSettings(**changes)  # type: ignore[arg-type]
