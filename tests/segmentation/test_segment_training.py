"""A tiny segmenter from faces to numbers: trained, stopped, resumed to the same bits, measured, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgeface.data.synthetic import synth_face, write_synthetic
from edgeface.models.digest import weights_digest
from edgeface.models.segmenter import SegmenterMeta, build_segmenter, load_segmenter, read_segmenter, save_segmenter
from edgeface.segmentation import SegmentSettings, evaluate_segmenter, predict, train_segmenter
from edgeface.segmentation.job import SegmentJob
from edgeface_calibration.segment_metrics import Tally
from edgeface_runtime.errors import ArtefactError, InputError

SETTINGS = SegmentSettings(
    width=0.5, epochs=3, batch=4, kinds=("block",), share=(0.2, 0.3), lr=0.01, held_out=0.3, device="cpu", threads=1
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_synthetic(folder, 4, 4, 0)
    return folder


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    out = tmp_path_factory.mktemp("run") / "whole"
    return out, train_segmenter(SETTINGS, faces, out, quiet=True)


def test_a_run(trained: tuple[Path, Any], faces: Path) -> None:
    out, result = trained
    assert result.done and result.epochs == 3 and len(result.losses) == 3
    assert result.losses[-1] < result.losses[0]
    assert result.checkpoint == out / "segmenter.safetensors"
    spec, meta = read_segmenter(result.checkpoint)
    assert (spec.arch, meta.seed, meta.occluders, meta.labels, meta.epochs) == (
        "unet-light",
        0,
        ("block",),
        "exact",
        3,
    )
    assert meta.faces_seen == 3 * 12 and meta.iou == result.scores.iou and result.scores.pictures == 4
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] != "step"] == ["start", *["epoch"] * 3, "done"]
    assert not [entry for entry in out.iterdir() if entry.name.startswith(".")]


def test_a_stopped_run_goes_on_to_the_same_bits(
    trained: tuple[Path, Any], faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = trained
    steps, step = 0, SegmentJob._step

    def stop(self: SegmentJob, *given: Any) -> float:
        nonlocal steps
        steps += 1
        if steps == 5:  # in the second epoch of three steps
            raise KeyboardInterrupt
        return step(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentJob, "_step", stop)
        part = train_segmenter(SETTINGS, faces, tmp_path / "run", quiet=True)
    assert not part.done and part.epochs == 1 and part.checkpoint.name == "last.safetensors"
    result = train_segmenter(SETTINGS, faces, tmp_path / "run", resume=True, quiet=True)
    assert result.done and result.losses == whole.losses
    digests = [weights_digest(load_segmenter(run.checkpoint)) for run in (result, whole)]
    assert digests[0] == digests[1]


def test_another_run_is_not_resumed(trained: tuple[Path, Any], faces: Path, tmp_path: Path) -> None:
    out, _ = trained
    with pytest.raises(InputError, match="holds a run already"):
        train_segmenter(SETTINGS, faces, out, quiet=True)
    with pytest.raises(InputError, match="--seed 0, now 1"):
        train_segmenter(replace(SETTINGS, seed=1), faces, out, resume=True, quiet=True)
    with pytest.raises(InputError, match="no run to resume"):
        train_segmenter(SETTINGS, faces, tmp_path, resume=True, quiet=True)
    (tmp_path / "run.json").write_text('{"format": "edgeface-run", "version": 1}')
    with pytest.raises(ArtefactError, match=r"run\.json"):
        train_segmenter(SETTINGS, faces, tmp_path, resume=True, quiet=True)


def test_a_segmenter_to_start_from(trained: tuple[Path, Any], faces: Path, tmp_path: Path) -> None:
    _, first = trained
    settings = replace(SETTINGS, epochs=1, lr=1e-8, width=1.0)
    result = train_segmenter(settings, faces, tmp_path / "run", start=first.checkpoint, quiet=True)
    (spec, meta), (before, earlier) = read_segmenter(result.checkpoint), read_segmenter(first.checkpoint)
    assert spec == before and meta.history[:-1] == earlier.history and meta.epochs == 4
    with pytest.raises(InputError, match="unet-vgg16"):
        train_segmenter(
            replace(settings, arch="unet-vgg16"), faces, tmp_path / "other", start=first.checkpoint, quiet=True
        )


def test_sgd_on_box_crops_with_differences(tmp_path: Path) -> None:
    """128x96 crops with their own landmarks; one picture's lie outside, which is said and not fatal."""
    points = {}
    for person in range(2):
        for number in range(3):
            path = tmp_path / "box" / str(person) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.resize(synth_face(person, number), (96, 128)))
            points[f"{person}/{number}.png"] = [[30, 59], [65, 59], [48, 82], [33, 105], [62, 105 + 50 * number]]
    (tmp_path / "box" / "landmarks.json").write_text(json.dumps(points))
    settings = replace(
        SETTINGS,
        input_size=(128, 96),
        epochs=1,
        batch=2,
        optimizer="sgd",
        kinds=("mask",),
        share=None,
        label="difference",
    )
    result = train_segmenter(replace(settings, lr=None), tmp_path / "box", tmp_path / "run", quiet=True)
    assert result.done and load_segmenter(result.checkpoint).input_size == (128, 96)
    start = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert any("outside" in note for note in start["landmarks"])


def test_wrong_size_is_named(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="96x112"):
        train_segmenter(replace(SETTINGS, input_size=(128, 96)), faces, tmp_path / "run", quiet=True)


def test_measuring(trained: tuple[Path, Any], faces: Path) -> None:
    _, run = trained
    result = evaluate_segmenter(run.checkpoint, faces, "block", 0.3, seed=5, device="cpu")
    assert result == evaluate_segmenter(run.checkpoint, faces, "block", 0.3, seed=5, device="cpu")
    data = json.loads(json.dumps(result.to_dict()))
    assert data["pictures"] == 16 and data["failed"] == {} and "block .3" in data["protocol"]
    assert data["covered_share"] == pytest.approx(0.3, abs=0.01)
    assert 0 <= data["iou"] <= 1 and 0 < data["pixel_accuracy"] <= 1
    clean = evaluate_segmenter(run.checkpoint, faces, "none", limit=6, device="cpu").to_dict()
    assert clean["pictures"] == 6 and clean["covered_share"] == 0
    assert clean["pixel_accuracy"] == pytest.approx(1 - clean["false_share"])
    with pytest.raises(InputError, match="unknown --occlusion"):
        evaluate_segmenter(run.checkpoint, faces, "hat")
    with pytest.raises(InputError, match="--share"):
        evaluate_segmenter(run.checkpoint, faces, "none", 0.2)


def test_a_segmenter_that_covers_all_has_the_occluders_share(faces: Path, tmp_path: Path) -> None:
    """Predicting every pixel covered: IoU = accuracy = covered share, and all of the face is called so."""
    model = build_segmenter("unet-light", width=0.5)
    with torch.no_grad():
        model.out.weight.zero_()
        model.out.bias.fill_(9.0)
    save_segmenter(tmp_path / "all.safetensors", model, SegmenterMeta())
    scores = evaluate_segmenter(tmp_path / "all.safetensors", faces, "block", 0.3, device="cpu").scores
    assert scores.iou == scores.pixel_accuracy == scores.covered_share
    assert scores.false_share == 1.0


def test_predictions(trained: tuple[Path, Any]) -> None:
    model = load_segmenter(trained[1].checkpoint).train()
    crops = np.stack([synth_face(number, 0) for number in range(3)])
    found = predict(model, crops, batch=2)
    assert found.shape == (3, 112, 96) and found.dtype == np.float32 and model.training
    assert found.min() >= 0 and found.max() <= 1
    assert np.allclose(found[2], predict(model, crops[2:])[0], atol=1e-6)
    tally = Tally()
    tally.add(found > 0.5, np.zeros(found.shape, bool))
    with pytest.raises(InputError, match="multiples of 16"):
        predict(model, crops[:, :100])
    with pytest.raises(InputError, match="uint8"):
        predict(model, crops.astype(np.float32))  # type: ignore[arg-type]
