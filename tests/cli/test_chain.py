"""The whole chain through the command line, tiny: what each step says, and what it left for the next."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors import safe_open

from edgeface_runtime.files import sha256_file

Cli = Callable[..., Any]

STEPS = ("synthetic", "train", "prune", "occluded", "verify set", "identify set", "export", "calibrate", "enroll")


def tensors(path: Path) -> int:
    """Weights in a checkpoint, counted in the file; batch normalisation's statistics are no parameters."""
    with safe_open(str(path), framework="np") as stream:
        names = [n for n in stream.keys() if "running_" not in n and "num_batches" not in n]  # noqa: SIM118
        return sum(math.prod(stream.get_slice(name).get_shape()) for name in names)


@pytest.mark.parametrize("step", STEPS)
def test_stdout_is_json_and_nothing_else(chain: Any, step: str) -> None:
    done = chain.outcomes[step]
    assert (done.code, done.err) == (0, "")
    assert isinstance(done.data, dict)


def test_faces_and_training(chain: Any) -> None:
    assert chain.outcomes["synthetic"].data["pictures"] == len(list(chain.faces.rglob("*.png"))) == 32
    for step, place in (("train", chain.dense), ("occluded", chain.masked)):
        told = chain.outcomes[step].data
        assert (told["checkpoint"], told["done"], told["epochs"], told["skipped"]) == (str(place), True, 1, [])
        assert len(told["losses"]) == 1 and math.isfinite(told["losses"][0])


def test_pruning_made_the_tensors_smaller(chain: Any) -> None:
    told = chain.outcomes["prune"].data
    assert told["requested"] == 0.5 and abs(told["achieved"] - 0.5) <= 0.05
    assert tensors(chain.dense) == told["before"]["parameters"]
    assert tensors(chain.pruned) == told["after"]["parameters"] < 0.6 * told["before"]["parameters"]
    assert told["after"]["macs"] < 0.7 * told["before"]["macs"]
    assert all(group["after"] % 8 == 0 for group in told["groups"])


def test_inspect_tells_what_was_done_and_measured(chain: Any, cli: Cli) -> None:
    told = cli("inspect", chain.masked, "--json").data
    assert (told["kind"], told["stage"], told["ratio_requested"]) == ("checkpoint", "occluded", 0.5)
    words = [line.split(":")[0].split(",")[0] for line in told["history"]]
    assert words == ["new iresnet18", "clean", "pruned", "mask decoder added", "occluded"]
    assert told["parameters"] == tensors(chain.masked) > tensors(chain.pruned)  # the mask decoder
    assert [entry["protocol"] for entry in told["accuracy"]] == ["tiny mask", "tiny rank-1"]
    verified = chain.outcomes["verify set"].data
    assert told["accuracy"][0]["accuracy"] == pytest.approx(verified["accuracy"], abs=1e-6)
    assert (verified["pairs"], verified["missing"]) == (16, 0)
    identified = chain.outcomes["identify set"].data
    assert (identified["people"], identified["probes"]) == (8, 24)
    assert 0 <= identified["rank1"] <= identified["rank5"] <= 1


def test_recording_again_replaces(chain: Any, cli: Cli, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(chain.masked.read_bytes())
    command = ("evaluate", copy, "--images", chain.images, "--protocol", "identify", "--record", "--json")
    for name in ("tiny", "other", "other"):
        assert cli(*command, "--name", name, "--out", tmp_path / "result.json").code == 0
    told = cli("inspect", copy, "--json").data
    assert [entry["protocol"] for entry in told["accuracy"]] == ["tiny mask", "tiny rank-1", "other rank-1"]
    assert json.loads((tmp_path / "result.json").read_text())["protocol"] == "other rank-1"
    assert tensors(copy) == tensors(chain.masked)


def test_the_bundle_is_what_the_checkpoint_was(chain: Any, cli: Cli) -> None:
    told = cli("inspect", chain.bundle, "--json").data
    assert told["kind"] == "bundle" and told["masking"] == "decoder"
    assert told["model_id"] == sha256_file(chain.bundle / "recognizer.onnx")
    assert (told["ratio"]["requested"], told["training"]["stage"]) == (0.5, "occluded")
    assert [entry["protocol"] for entry in told["accuracy"]] == ["tiny mask", "tiny rank-1"]
    assert set(told["models"]) == {"fp32", "fp16"}
    assert all(parity["cosine_min"] >= 0.9999 for parity in told["parity"].values())
    assert told["parameters"] == tensors(chain.masked)
    calibrated = chain.outcomes["calibrate"].data
    assert told["thresholds"] == calibrated["thresholds"] and set(told["thresholds"]) == {"0.1"}
    assert (calibrated["faces"], calibrated["impostor_pairs"], calibrated["genuine_pairs"]) == (32, 448, 48)


def test_a_bundle_and_its_checkpoint_judge_alike(chain: Any, cli: Cli) -> None:
    found = [
        cli("evaluate", model, "--images", chain.images, "--pairs", chain.pairs, "--json", "--quiet").data
        for model in (chain.masked, chain.bundle)
    ]
    assert [entry["ran_on"]["backend"] for entry in found] == ["torch", "onnxruntime"]
    assert found[0]["accuracy"] == found[1]["accuracy"]
    assert found[0]["threshold"] == pytest.approx(found[1]["threshold"], abs=1e-4)


def test_recognition(chain: Any, cli: Cli, tmp_path: Path) -> None:
    told = chain.outcomes["enroll"].data
    assert (told["name"], len(told["ids"])) == ("Ann", 1)
    gallery, darker = tmp_path / "people.sqlite", tmp_path / "darker.jpg"
    cv2.imwrite(str(darker), (cv2.imread(str(chain.photo)) * 0.9).astype(np.uint8))
    assert cli("enroll", chain.bundle, "Bob", chain.photo, darker, "--gallery", gallery, "--quiet").code == 0
    shown = cli("inspect", gallery, "--json").data
    assert (shown["kind"], shown["people"], shown["templates"]) == ("gallery", 1, 2)

    found = cli("identify", chain.bundle, darker, "--gallery", chain.gallery, "--threshold", 0.8, "--json")
    assert found.code == 0
    (face,) = found.data[0]["faces"]
    assert face["match"] == "Ann" and face["candidates"][0]["score"] >= 0.8
    assert 0 <= face["covered_share"] <= 1
    left, top, right, bottom = face["box"]
    assert all(left < x < right and top < y < bottom for x, y in face["landmarks"])
    by_bundle = cli("verify", chain.bundle, chain.photo, darker, "--json")
    assert by_bundle.code == 0 and by_bundle.data["match"] is True
    assert by_bundle.data["threshold"]["source"] == "bundle, false match rate 0.1"

    listed = cli("gallery", "list", "--gallery", gallery, "--json").data
    assert [(person["name"], person["templates"]) for person in listed] == [("Bob", 2)]
    deleted = cli("gallery", "delete", "Bob", "--gallery", gallery, "--json")
    assert (deleted.code, deleted.data["removed"], deleted.data["erased"]) == (0, 2, True)
    assert cli("gallery", "list", "--gallery", gallery, "--json").data == []
    assert cli("identify", chain.bundle, darker, "--gallery", gallery, "--json").code == 1


def test_benchmark_of_two_bundles(chain: Any, cli: Cli, tmp_path: Path) -> None:
    few = ("--runs", 3, "--warmup", 1, "--batch", "1,4", "--out", tmp_path / "report")
    done = cli("benchmark", chain.bundle, chain.other, *few, "--json")
    assert done.code == 0
    rows = done.data["rows"]
    assert [row["requested"] for row in rows] == [0, 0.5]
    assert rows[0]["parameters"] == tensors(chain.dense) and rows[1]["parameters"] == tensors(chain.masked)
    assert [entry["protocol"] for entry in rows[1]["accuracy"]] == ["tiny mask", "tiny rank-1"]
    assert rows[0]["accuracy"] == [] and rows[0]["speedup"] == 1
    assert all(set(row["throughput"]) == {"4"} for row in rows)
    assert done.data["weights"] == "trained"
    assert json.loads((tmp_path / "report" / "benchmark.json").read_text()) == done.data
    for name in ("benchmark.md", "figure6.png", "figure7.png"):
        assert (tmp_path / "report" / name).stat().st_size > 0
        assert f"wrote {tmp_path / 'report' / name}" in done.err


def test_occluded_copies_and_alignment(chain: Any, cli: Cli, tmp_path: Path) -> None:
    covered = ("data", "occlude", chain.faces, tmp_path / "a", "--kind", "random", "--share", 0.3, "--seed", 5)
    first = cli(*covered, "--json", "--quiet")
    assert (first.code, first.err, first.data["pictures"]) == (0, "", 32)
    assert first.data["mean_share"] == pytest.approx(0.3, abs=0.01)
    photos = tmp_path / "photos" / "Ann"
    photos.mkdir(parents=True)
    (photos / "ann.png").write_bytes(chain.photo.read_bytes())
    (photos / "not.jpg").write_text("no picture")
    aligned = cli("data", "align", tmp_path / "photos", tmp_path / "crops", "--json", "--quiet")
    assert (aligned.code, aligned.err, aligned.data["aligned"], len(aligned.data["skipped"])) == (0, "", 1, 1)
    (crop,) = (tmp_path / "crops" / "Ann").iterdir()
    assert cv2.imread(str(crop)).shape == (112, 96, 3)
    (photos / "ann.png").unlink()
    nothing = cli("data", "align", tmp_path / "photos", tmp_path / "none", "--quiet")
    assert nothing.code == 2 and "none of 1 pictures could be aligned" in nothing.err


def test_without_json_people_read_it(chain: Any, cli: Cli) -> None:
    """Without --quiet: notes on stderr, the result on stdout, and no progress left in a log."""
    done = cli("evaluate", chain.bundle, "--images", chain.images, "--pairs", chain.pairs, "--folds", "1-2")
    assert done.code == 0 and done.err == ""
    assert "images, folds 1-2" in done.out and "16" in done.out
    listed = cli("gallery", "list", "--gallery", chain.gallery)
    assert "Ann" in listed.out and listed.err == ""
