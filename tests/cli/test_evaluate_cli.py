"""`edgeface evaluate`: galleries, kept scores, comparisons, dictionaries, segmenters, pictures without labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Cli = Callable[..., Any]


@dataclass(frozen=True)
class Masked:
    """A dictionary and a segmenter for the chain's dense network, both with weights drawn at random."""

    dictionary: Path
    segmenter: Path


@pytest.fixture(scope="module")
def masked(chain: Any, tmp_path_factory: pytest.TempPathFactory) -> Masked:
    import torch

    from edgeface.models import load_checkpoint
    from edgeface.models.segmenter import SegmenterMeta, build_segmenter, save_segmenter
    from edgeface_runtime.dictionary import MaskDictionary
    from edgeface_runtime.regions import Region

    root = tmp_path_factory.mktemp("masked")
    spec = load_checkpoint(chain.dense).model.spec
    keep = np.random.default_rng(0).uniform(size=(2, spec.top_channels, *spec.top_size)) < 0.7
    regions = (Region("upper", (0, 0, 96, 56)), Region("lower", (0, 56, 96, 112)))
    MaskDictionary("lm2", regions, keep, (112, 96)).save(root / "dictionary.npz")
    torch.manual_seed(0)
    save_segmenter(root / "segmenter.safetensors", build_segmenter("unet-light", width=0.5).eval(), SegmenterMeta())
    return Masked(root / "dictionary.npz", root / "segmenter.safetensors")


def judge(chain: Any, *more: object) -> tuple[object, ...]:
    return ("evaluate", chain.dense, "--images", chain.images, "--device", "cpu", "--json", "--quiet", *more)


def test_scores_are_kept_and_compared(chain: Any, cli: Cli, tmp_path: Path) -> None:
    pairs = ("--pairs", chain.pairs)
    kept = tmp_path / "scores.npz"
    alone = cli(*judge(chain, *pairs, "--scores", kept)).data
    assert alone["interval"]["value"] == pytest.approx(alone["accuracy"]) and "scores" not in alone
    with np.load(kept) as data:
        assert data["scores"].shape == (16,) and data["names"].shape == data["identities"].shape == (16, 2)
    other = ("evaluate", chain.masked, "--images", chain.images, "--device", "cpu", *pairs)
    by_file = cli(*other, "--against", kept, "--json", "--quiet").data
    by_model = cli(*other, "--against", chain.dense, "--json", "--quiet").data
    for name, entry in by_file["comparison"]["differences"].items():
        assert entry == by_model["comparison"]["differences"][name]
    difference = by_model["comparison"]["differences"]["accuracy"]
    assert difference["value"] == pytest.approx(by_model["accuracy"] - alone["accuracy"])
    assert by_model["against"]["accuracy"] == alone["accuracy"]
    itself = cli(*judge(chain, *pairs, "--against", kept)).data["comparison"]
    assert {entry["verdict"] for entry in itself["differences"].values()} == {"not distinguishable from 0"}
    shown = cli(*other, "--against", kept, "--quiet")
    assert "minus scores.npz" in shown.out and "95 %" in shown.out


def test_gallery_and_split(chain: Any, cli: Cli, tmp_path: Path) -> None:
    names: dict[str, list[str]] = {"gallery": [], "probes": []}
    for side, wanted in (("gallery", "12"), ("probes", "34")):
        for picture in sorted(chain.images.rglob("*.png")):
            if picture.stem[-1] in wanted:
                names[side].append(picture.relative_to(chain.images).as_posix())
                target = tmp_path / side / picture.relative_to(chain.images)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(picture, target)
    (tmp_path / "split.json").write_text(json.dumps(names))
    identify = ("--protocol", "identify")
    by_file = cli(*judge(chain, *identify, "--split", tmp_path / "split.json")).data
    folders = ("evaluate", chain.dense, "--images", tmp_path / "probes", "--gallery", tmp_path / "gallery")
    by_folder = cli(*folders, *identify, "--device", "cpu", "--json", "--quiet").data
    assert (by_file["probes"], by_file["gallery_pictures"], by_file["people"]) == (16, 16, 8)
    for key in ("rank1", "rank5", "cmc", "probes", "gallery_pictures"):
        assert by_file[key] == by_folder[key]
    assert by_file["cmc"][0] == pytest.approx(by_file["rank1"], abs=1e-6) and by_file["cmc"][-1] == 1
    shares = cli(*judge(chain, *identify, "--split", ".5,.25,.25", "--split-seed", 4)).data
    assert (shares["probes"], shares["gallery_pictures"]) == (8, 16)


def test_a_dictionary_of_a_checkpoint(chain: Any, masked: Masked, cli: Cli) -> None:
    pairs = ("--pairs", chain.pairs, "--occlusion", "mask", "--dictionary", masked.dictionary)
    exact = cli(*judge(chain, *pairs, "--segmenter", "exact", "--against", chain.dense)).data
    assert exact["masking"] == "lm2" and exact["protocol"].endswith("mask by lm2")
    told = exact["ran_on"]
    assert told["covered_by"] == "the test's own occluders"
    assert told["region_covered"]["upper"] == 0 and told["region_covered"]["lower"] > 0
    assert exact["comparison"]["compared"] == 16
    seen = cli(*judge(chain, *pairs, "--segmenter", masked.segmenter)).data
    assert seen["ran_on"]["covered_by"] == "segmenter segmenter.safetensors"
    # Nothing covered, nothing masked: the embedding is the network's own.
    clean = cli(*judge(chain, "--pairs", chain.pairs, "--dictionary", masked.dictionary, "--segmenter", "exact")).data
    plain = cli(*judge(chain, "--pairs", chain.pairs)).data
    assert clean["auc"] == pytest.approx(plain["auc"], abs=0.02) and clean["ran_on"]["combinations"] == 1


def test_discarded_is_the_dictionarys_or_asked_for(chain: Any, masked: Masked, cli: Cli) -> None:
    pairs = ("--pairs", chain.pairs, "--occlusion", "mask")
    whole = (*pairs, "--dictionary", masked.dictionary, "--segmenter", "exact", "--discarded")
    assert cli(*judge(chain, *whole, "zero")).data["ran_on"]["discarded"] == "zero"
    for more, words in (
        ((*whole, "mean"), "keeps the features' mean"),
        ((*whole, "noise"), "unknown --discarded 'noise': choose one of mean, zero"),
        ((*pairs, "--discarded", "zero"), "give both"),
    ):
        refused = cli(*judge(chain, *more))
        assert refused.code == 2 and words in refused.err


def test_a_bundle_with_a_dictionary_judges_as_the_checkpoint(
    chain: Any, masked: Masked, cli: Cli, tmp_path: Path
) -> None:
    parts = ("--dictionary", masked.dictionary, "--segmenter", masked.segmenter)
    made = cli("export", chain.dense, "--out", tmp_path / "b", *parts, "--precision", "fp32", "--count", 4, "--quiet")
    assert made.code == 0, made
    cover = ("--images", chain.images, "--pairs", chain.pairs, "--occlusion", "mask", "--json", "--quiet")
    scores = []
    for model, more in ((chain.dense, (*parts, "--device", "cpu")), (tmp_path / "b", ("--threads", 1))):
        kept = tmp_path / f"{len(scores)}.npz"
        found = cli("evaluate", model, *cover, *more, "--scores", kept)
        assert found.code == 0 and found.data["masking"] == "lm2", found
        with np.load(kept) as data:
            scores.append(data["scores"])
    np.testing.assert_allclose(*scores, atol=2e-3)


def test_a_segmenter_is_judged_by_its_pixels(chain: Any, masked: Masked, cli: Cli, tmp_path: Path) -> None:
    copy = shutil.copy(masked.segmenter, tmp_path / "s.safetensors")
    command = ("evaluate", copy, "--images", chain.faces, "--occlusion", "mask", "--device", "cpu")
    found = cli(*command, "--json", "--quiet", "--record", "--out", tmp_path / "r.json")
    assert found.code == 0 and 0 <= found.data["iou"] <= 1 and found.data["pictures"] == 32
    assert json.loads((tmp_path / "r.json").read_text()) == found.data
    assert "pixel accuracy" in cli(*command, "--quiet").out
    wrong = cli(*command, "--pairs", chain.pairs)
    assert wrong.code == 2 and "is a segmenter, not a recogniser: leave out --pairs" in wrong.err


def test_pictures_without_labels(chain: Any, masked: Masked, cli: Cli, tmp_path: Path) -> None:
    shutil.copy(chain.photo, tmp_path / "one.png")
    command = ("--images", tmp_path, "--protocol", "covered", "--quiet", "--segmenter", masked.segmenter)
    for model in (chain.masked, chain.bundle):
        found = cli("evaluate", model, *command, "--json").data
        assert (found["pictures"], found["detected"]) == (1, 1)
        assert set(found["covered"]) == {"mask", "segmenter"} and 0 < found["covered"]["mask"]["mean"] < 1
    assert "faces found" in cli("evaluate", chain.masked, *command).out
    dense = cli("evaluate", chain.dense, "--images", tmp_path, "--protocol", "covered", "--device", "cpu")
    assert dense.code == 0 and "no mask that says how much is covered" in dense.err


BAD = [
    ("--pairs {pairs} --gallery {images}", "--gallery and --split belong to --protocol identify"),
    ("--protocol identify --gallery {images} --split .7,.15,.15", "give one of them"),
    ("--protocol identify --split .7,.3", "three shares"),
    ("--protocol identify --split x.json", "split file not found"),
    ("--protocol identify --gallery {pairs}", "is not a folder"),
    ("--pairs {pairs} --dictionary {dictionary}", "belong together"),
    ("--pairs {pairs} --segmenter exact", "belong together"),
    ("--pairs {pairs} --dictionary {pairs} --segmenter exact", "mask dictionary"),
    ("--pairs {pairs} --dictionary {dictionary} --segmenter {dense}", "segmenter"),
    ("--pairs {pairs} --against {dictionary}", "scores file"),
    ("--pairs {pairs} --against missing.npz", "scores file not found"),
    ("--pairs {pairs} --scores {photo}", "is no scores file"),
    ("--protocol covered --occlusion mask", "leave out --occlusion"),
    ("--protocol covered --cache new", "leave out --cache"),
    ("--pairs {pairs} --cache {photo}", "is no folder: name another"),
    ("--pairs {pairs} --cache {photo}/below", "is no folder: name another"),
    ("--pairs {pairs} --cache /proc", "cannot write /proc"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_options(chain: Any, masked: Masked, cli: Cli, options: str, words: str) -> None:
    places = {name: getattr(chain, name) for name in ("pairs", "images", "dense", "photo")}
    told = options.format(**places, dictionary=masked.dictionary).split(" ")
    found = cli("evaluate", chain.dense, "--images", chain.images, "--device", "cpu", "--quiet", *told)
    assert found.code == 2 and words in found.err and found.err.count("\n") == 1, found.err


def test_a_dictionary_is_not_for_a_network_with_a_mask(chain: Any, masked: Masked, cli: Cli) -> None:
    parts = ("--dictionary", masked.dictionary, "--segmenter", "exact", "--pairs", chain.pairs)
    for model, words in ((chain.masked, "this one has a decoder"), (chain.bundle, "carries its own")):
        found = cli("evaluate", model, "--images", chain.images, "--device", "cpu", *parts)
        assert found.code == 2 and words in found.err


def test_a_cache_changes_nothing_but_the_time(chain: Any, masked: Masked, cli: Cli, tmp_path: Path) -> None:
    cache, parts = ("--cache", tmp_path / "cache"), ("--segmenter", "exact", "--dictionary", masked.dictionary)
    kinds = {
        "plain": ("--pairs", chain.pairs, "--occlusion", "mask"),
        "lm2": ("--pairs", chain.pairs, "--occlusion", "mask", *parts),
        "identify": ("--protocol", "identify", *parts),
    }
    for name, told in kinds.items():
        found, scores = [], []
        for number, more in enumerate(((), cache, cache)):
            kept = tmp_path / f"{name}{number}.npz"
            found.append(cli(*judge(chain, *told, *more, "--scores", kept)).data)
            with np.load(kept) as data:
                scores.append([data[key].tobytes() for key in sorted(data.files)])
        shared = 8 if name == "identify" else 0  # its gallery is the pairs' first pictures
        assert "cached" not in found[0] and found[1].pop("cached") == shared and found[2].pop("cached") == 8
        assert found[0] == found[1] == found[2] and scores[0] == scores[1] == scores[2]
    said = cli("evaluate", chain.dense, "--images", chain.images, "--device", "cpu", *kinds["plain"], *cache)
    assert f"8 pictures taken from {cache[1]}, 0 put there" in said.err


def test_a_cache_is_of_one_network(chain: Any, cli: Cli, tmp_path: Path) -> None:
    told = ("--images", chain.images, "--pairs", chain.pairs, "--cache", tmp_path / "c", "--json", "--quiet")
    for model in (chain.dense, chain.masked, chain.bundle, chain.other):
        more = ("--device", "cpu", "--threads", 1)
        assert [cli("evaluate", model, *told, *more).data["cached"] for _ in range(2)] == [0, 24]
    assert cli("evaluate", chain.bundle, *told, "--threads", 1, "--precision", "fp32").data["cached"] == 24
    assert cli("evaluate", chain.bundle, *told, "--threads", 1, "--precision", "fp16").data["cached"] == 0
    both = cli("evaluate", chain.dense, *told, "--device", "cpu", "--against", chain.masked).data
    assert (both["cached"], both["against"]["cached"]) == (24, 24)


def test_a_damaged_cache_is_told_and_made_anew(chain: Any, cli: Cli, tmp_path: Path) -> None:
    told = ("evaluate", chain.dense, "--images", chain.images, "--pairs", chain.pairs, "--device", "cpu", "--json")
    first = cli(*told, "--cache", tmp_path / "c").data
    (file,) = (tmp_path / "c").iterdir()
    file.write_bytes(b"nothing of ours")
    again = cli(*told, "--cache", tmp_path / "c")
    assert again.data == first and f"{file} is damaged or no file of codes: made anew\n" in again.err
    assert cli(*told, "--cache", tmp_path / "c").data == {**first, "cached": first["pairs"] + 8}
