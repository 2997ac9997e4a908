"""A dictionary model through the command line: what is shown of it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeface_runtime import dictionary_model
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.regions import Region


class White(nn.Module):
    """A segmenter that calls white pixels covered."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid((self.net(x).amin(dim=1, keepdim=True) - 0.95) * 300)


@dataclass(frozen=True)
class Parts:
    bundle: Path
    masks: Path
    covered: Path
    gallery: Path


@pytest.fixture(scope="module")
def parts(chain: Any, cli: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The chain's dense network with two regions, and its photo with the mouth painted white."""
    from edgeface.models import load_checkpoint
    from edgeface_export.bundle_writer import write_bundle
    from edgeface_export.dictionary_export import DictionaryParts, feature_shape
    from edgeface_export.graph import write_graph

    root = tmp_path_factory.mktemp("dictionary")
    checkpoint = load_checkpoint(chain.dense)
    shape = feature_shape(checkpoint.model)
    keep = np.ones((2, *shape), bool)
    keep[0, :, :3], keep[1, :, 4:] = False, False
    regions = (Region("eyes", (0, 30, 96, 60)), Region("mouth", (20, 84, 76, 104)))
    masks = MaskDictionary("lm2", regions, keep, (112, 96), extra={"tau": 0.25})
    masks.save(root / "masks.npz")

    def segmenter(path: Path, faces: np.ndarray) -> dict[str, int]:
        write_graph(White().eval(), torch.zeros(2, 3, 112, 96), path, "white", ("covered",))
        return {}

    faces = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)
    write_bundle(
        checkpoint,
        root / "bundle",
        "dictionary",
        faces,
        measure_memory=False,
        dictionary=DictionaryParts(masks, segmenter, (112, 96)),
    )
    photo = cv2.imread(str(chain.photo))
    cv2.rectangle(photo, (195, 140), (255, 170), (255, 255, 255), -1)
    cv2.imwrite(str(root / "covered.png"), photo)
    enrolled = cli("enroll", root / "bundle", "Ann", chain.photo, "--gallery", root / "g.db", "--threads", 1)
    assert enrolled.code == 0, enrolled
    return Parts(root / "bundle", root / "masks.npz", root / "covered.png", root / "g.db")


def test_identify_shows_what_was_discarded(parts: Parts, chain: Any, cli: Callable[..., Any]) -> None:
    arguments = ("identify", parts.bundle, parts.covered, chain.photo, "--gallery", parts.gallery, "--threads", 1)
    found = cli(*arguments, "--threshold", 0.1, "--json")
    covered, free = (result["faces"][0] for result in found.data)
    assert (covered["discarded"], free["discarded"]) == (["mouth"], [])
    assert covered["match"] == free["match"] == "Ann" and 0.05 < covered["covered_share"] < 0.5
    assert " mouth " in cli(*arguments, "--threshold", 0.1).out


def test_verify_says_what_was_left_out(parts: Parts, chain: Any, cli: Callable[..., Any]) -> None:
    arguments = ("verify", parts.bundle, chain.photo, parts.covered, "--threshold", 0.1, "--threads", 1)
    assert "left out on both: mouth" in cli(*arguments).out
    assert cli(*arguments, "--json").data["discarded"] == ["mouth"]


def test_too_large_a_gallery_is_refused(
    parts: Parts, chain: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dictionary_model, "MAX_MASKED", 0)
    arguments = ("identify", parts.bundle, parts.covered, "--gallery", parts.gallery, "--threads", 1)
    found = cli(*arguments, "--threshold", 0.1)
    assert found.code == 2 and "holds 1 templates" in found.err and len(found.err.strip().splitlines()) == 1
    assert cli(*arguments, "--threshold", 0.1, "--json").data[0]["status"] == "refused"


def test_inspect_lists_the_regions(parts: Parts, cli: Callable[..., Any]) -> None:
    shown = cli("inspect", parts.bundle)
    assert "region mouth: 20 84 76 104, keeps 0.5714" in shown.out
    data = cli("inspect", parts.masks, "--json").data
    assert (data["kind"], data["masking"], data["made"]) == ("mask dictionary", "lm2", {"tau": 0.25})
    assert data["regions"][0] == {"name": "eyes", "box": [0, 30, 96, 60], "kept": pytest.approx(4 / 7, abs=1e-3)}
    assert "eyes: 0 30 96 60, keeps 0.5714" in cli("inspect", parts.masks).out
    assert cli("inspect", parts.gallery, "--json").data["features"] == data["features"]


def test_tensorrt_is_refused(parts: Parts, cli: Callable[..., Any]) -> None:
    found = cli("verify", parts.bundle, parts.covered, parts.covered, "--backend", "tensorrt")
    assert found.code == 2 and "runs on onnxruntime only for now" in found.err


def test_an_engine_does_not_mask(
    parts: Parts, chain: Any, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from edgeface_export import build
    from edgeface_runtime.engine import Profile

    plan = build.BuiltEngine("tensorrt", "1", "a", "b", "fp32", Profile(1, 1, 8), None, None, None)
    monkeypatch.setattr(build, "prepare_build", lambda *_: SimpleNamespace(plan=plan))
    monkeypatch.setattr(build, "run_build", lambda *_: plan)
    given = ("--precision", "fp32", "--out", tmp_path / "a.engine")
    words = "the engine is the network without its mask dictionary (lm2)"
    assert f"warning: {words}" in cli("build", parts.bundle, *given).out
    assert cli("build", parts.bundle, *given, "--json").data["dictionary_unused"].startswith(words)
    plain = cli("build", chain.bundle, *given)
    assert plain.code == 0 and "warning" not in plain.out


def test_one_part_needs_the_other(parts: Parts, chain: Any, cli: Callable[..., Any], tmp_path: Path) -> None:
    for given, missing in (("--dictionary", "--segmenter"), ("--segmenter", "--dictionary")):
        found = cli("export", chain.dense, "--out", tmp_path / "b", given, parts.masks)
        assert found.code == 2 and f"{given} needs {missing}" in found.err
    assert list(tmp_path.iterdir()) == []


def test_export_takes_both_and_refuses_what_is_neither(
    parts: Parts, chain: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    from edgeface.cli.export import _parts
    from edgeface.models.segmenter import SegmenterMeta, build_segmenter, save_segmenter

    torch.manual_seed(0)
    segmenter = tmp_path / "segmenter.safetensors"
    save_segmenter(segmenter, build_segmenter("unet-light").eval(), SegmenterMeta(data="noise"))
    given = ("--dictionary", parts.masks, "--count", 2, "--precision", "fp32")
    wrong = cli("export", chain.dense, "--out", tmp_path / "b", *given, "--segmenter", chain.dense)
    assert wrong.code == 2 and "segmenter" in wrong.err and len(wrong.err.strip().splitlines()) == 1
    found = cli("export", chain.dense, "--out", tmp_path / "b", *given, "--segmenter", segmenter, "--json")
    assert found.code == 0, found
    told = found.data["dictionary"]["segmenter"]
    assert (told["arch"], told["data"], told["parity"]["faces"]) == ("unet-light", "noise", 2)
    assert "never measured" in told["warning"]
    for iou, warned in ((0.02, "its IoU is 0.02, it marks or misses more wrongly"), (0.8, "")):
        save_segmenter(segmenter, build_segmenter("unet-light").eval(), SegmenterMeta(iou=iou))
        made = _parts(parts.masks, segmenter, 18)
        assert made is not None and str(made.notes.get("warning", "")).startswith(warned)
        assert ("warning" in made.notes) == bool(warned)
    assert cli("identify", tmp_path / "b", chain.photo, "--gallery", parts.gallery, "--threshold", 0.1).code in (0, 1)
    assert cli("inspect", segmenter, "--json").data["kind"] == "segmenter"


def test_thresholds_of_masked_scores(parts: Parts, chain: Any, cli: Callable[..., Any], tmp_path: Path) -> None:
    """Covered probes are compared by what is left of them, and a discarded region makes a face a covered one."""
    import shutil

    bundle = tmp_path / "bundle"
    shutil.copytree(parts.bundle, bundle)
    words = ("calibrate", "threshold", bundle, "--data", chain.faces, "--fmr", ".2", "--conditions", "clean,mouth")
    done = cli(*words, "--threads", 1, "--json", "--quiet")
    assert done.code == 0, done
    clean, mouth = done.data["conditions"]
    assert done.data["by_regions"] and done.data["covered_above"] is None
    assert (clean["seen_covered"], mouth["seen_covered"]) == (0, 1), "the white block is seen"
    assert done.data["ran_on"]["region_covered"]["mouth"] == 0.5
    thresholds = [found["fmr"]["0.2"]["threshold"] for found in (clean, mouth)]
    assert thresholds[0] != thresholds[1]
    faces = [
        cli("identify", bundle, photo, "--gallery", parts.gallery, "--threads", 1, "--json").data[0]["faces"][0]
        for photo in (chain.photo, parts.covered)
    ]
    assert [face["threshold"]["value"] for face in faces] == thresholds
    assert [bool(face["discarded"]) for face in faces] == [False, True]
