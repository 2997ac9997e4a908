"""FROM's training: occlusion patterns, frozen parts, box crops; and runs of older versions go on."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from edgeface.data import write_synthetic
from edgeface.data.synthetic import synth_face
from edgeface.models import FaceNet, build_spec, load_checkpoint, save_checkpoint
from edgeface.models.checkpoint import CheckpointMeta
from edgeface.models.tensor_file import write_tensors
from edgeface.training import TrainSettings, job, learning_rate, train
from edgeface.training.margin import MARGINS, MarginSoftmax
from edgeface.training.state import load_state, read_class_weights, read_run
from edgeface.training.step import TrainStep
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import ArtefactError, InputError

SPEC = build_spec("iresnet18", 0.125)
COVERED = TrainSettings(
    stage="occluded", epochs=2, batch=8, lr=0.05, threads=1, log_every=1, precision="fp32", patterns=3
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "people"
    write_synthetic(root, 4, 6)
    return root


@pytest.fixture(scope="module")
def clean(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint trained a little."""
    out = tmp_path_factory.mktemp("runs") / "clean"
    settings = replace(COVERED, stage="clean", patterns=0, epochs=1)
    return train(settings, people, out, SPEC, quiet=True).checkpoint


def lines(out: Path, event: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == event]


@pytest.mark.parametrize("kind", ["decoder", "spatial", "vector"])
def test_patterns_are_learnt_and_logged(people: Path, clean: Path, tmp_path: Path, kind: str) -> None:
    result = train(replace(COVERED, epochs=1), people, tmp_path / "run", clean, mask=kind, quiet=True)
    after = load_checkpoint(result.checkpoint)
    mask = after.model.spec.mask
    assert mask is not None and (mask.kind, mask.patterns) == (kind, 3)
    assert f"mask {kind} added" in after.meta.history
    assert "patterns of a 3x3 grid (weight 1)" in after.meta.history[-1]
    (epoch,) = lines(tmp_path / "run", "epoch")
    assert 0 <= epoch["pattern_accuracy"] <= 1 and epoch["pattern_loss"] > 0
    assert {"pattern_loss", "pattern_accuracy"} <= set(lines(tmp_path / "run", "step")[0])
    assert lines(tmp_path / "run", "start")[0]["mask"] == kind


def test_the_loss_is_the_sum() -> None:
    torch.manual_seed(0)
    model = FaceNet(build_spec("iresnet18", 0.125, mask="decoder", patterns=3))
    margin = MarginSoftmax(512, 5, *MARGINS["cosface"])
    pixels = torch.randint(0, 256, (6, 112, 96, 3), dtype=torch.uint8)
    labels, patterns = torch.arange(6) % 5, torch.arange(6) * 6
    found = []
    for weight in (0.0, 1.0, 2.5):
        torch.manual_seed(1)  # the dropout
        step = TrainStep(model, margin, "fp32", pattern_weight=weight)
        loss, measures = step(pixels, labels, patterns)
        found.append(loss.item())
        named = dict(zip(step.measures, measures.tolist(), strict=True))
        assert named["loss"] == pytest.approx(loss.item())
    assert found[1] - found[0] == pytest.approx(named["pattern_loss"], rel=1e-4)
    assert found[2] - found[0] == pytest.approx(2.5 * named["pattern_loss"], rel=1e-4)
    assert named["pattern_loss"] == pytest.approx(np.log(37), rel=0.05), "an untrained head knows nothing"


def test_dropout_resumes_bit_equal(
    people: Path, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(COVERED, background="random")
    whole = train(settings, people, tmp_path / "whole", clean, mask="decoder", quiet=True)

    def interrupt(asked: TrainSettings, step: int, steps: int) -> float:
        if step == 4:
            raise KeyboardInterrupt
        return learning_rate(asked, step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(job, "learning_rate", interrupt)
        assert not train(settings, people, tmp_path / "parts", clean, mask="decoder", quiet=True).done
    torch.rand(7)
    parts = train(settings, people, tmp_path / "parts", clean, mask="decoder", resume=True, quiet=True)
    assert parts.digest == whole.digest
    assert load_checkpoint(parts.checkpoint).meta.data.endswith("covered (mix), 50% before another background")


def test_a_pattern_head_is_replaced_or_dropped(people: Path, clean: Path, tmp_path: Path) -> None:
    first = train(replace(COVERED, epochs=1), people, tmp_path / "k3", clean, mask="spatial", quiet=True).checkpoint
    for grid in (0, 4):
        settings = replace(COVERED, epochs=1, patterns=grid)
        result = train(settings, people, tmp_path / f"k{grid}", first, quiet=True)
        mask = load_checkpoint(result.checkpoint).model.spec.mask
        assert mask is not None and mask.patterns == grid
    with pytest.raises(InputError, match="a spatial mask, not one of --mask vector"):
        train(COVERED, people, tmp_path / "x", first, mask="vector", quiet=True)
    with pytest.raises(InputError, match="--patterns needs a network with a mask"):
        train(COVERED, people, tmp_path / "x", clean, quiet=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("freeze", "still", "moving"),
    [
        ("trunk", ("stem.", "stages."), ("head.", "decoder.", "pattern.")),
        ("network", ("stem.", "stages.", "head."), ("decoder.", "pattern.")),
    ],
)
def test_frozen_parts_stay_bit_equal(
    people: Path, clean: Path, tmp_path: Path, freeze: str, still: tuple[str, ...], moving: tuple[str, ...]
) -> None:
    """Weights and batch statistics; the rest learns, resumed too."""
    settings = replace(COVERED, freeze=freeze, epochs=1)
    result = train(settings, people, tmp_path / "run", clean, mask="decoder", quiet=True)
    before = load_checkpoint(clean).model.state_dict()
    after = load_checkpoint(result.checkpoint)
    assert f"{freeze} frozen" in after.meta.history[-1]
    state = after.model.state_dict()
    for name, value in before.items():
        if name.startswith(still):
            assert torch.equal(value, state[name]), name
    assert not torch.equal(before["head.2.weight"], state["head.2.weight"]) or freeze == "network"
    saved = load_state(tmp_path / "run" / "state.safetensors", read_run(tmp_path / "run"))
    assert saved is not None
    learnt = {name.removeprefix("momentum.model.") for name in saved.tensors if name.startswith("momentum.model.")}
    assert learnt == {name for name, _ in after.model.named_parameters() if name.startswith(moving)}
    assert "momentum.margin.weight" in saved.tensors
    (start,) = lines(tmp_path / "run", "start")
    assert start["learning"] == sum(
        tensor.numel() for name, tensor in saved.tensors.items() if name.startswith("momentum.")
    )


def test_frozen_trunks_keep_nothing_for_a_backward_pass() -> None:
    for spec in (build_spec("mobilefacenet", 0.25, mask="decoder"), replace(SPEC, mask=None)):
        model = FaceNet(spec)
        step = TrainStep(model, MarginSoftmax(spec.embedding, 3, *MARGINS["cosface"]), "fp32", freeze="trunk")
        step.train()
        assert not model.stages.training and not model.stem.training and model.head.training
        maps = model.maps(torch.rand(2, 3, 112, 96))
        assert not any(found.requires_grad for found in maps)
        loss, _ = step(torch.zeros(2, 112, 96, 3, dtype=torch.uint8), torch.tensor([0, 1]))
        loss.backward()
        assert all((p.grad is not None) == p.requires_grad for p in step.parameters())


def test_only_trained_networks_are_frozen(people: Path, clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"--freeze trunk keeps what is trained.*--from"):
        train(replace(COVERED, freeze="trunk", patterns=0), people, out, SPEC, quiet=True)
    with pytest.raises(InputError, match="--freeze network leaves nothing to learn"):
        train(replace(COVERED, freeze="network", patterns=0), people, out, clean, quiet=True)
    assert not out.exists()


def test_converted_networks_start_at_mean_embeddings(people: Path, tmp_path: Path) -> None:
    """Such a checkpoint does not know how many faces it has seen, but is trained."""
    source = tmp_path / "converted.safetensors"
    save_checkpoint(source, FaceNet(build_spec("mobilefacenet", 0.25)), CheckpointMeta(stage="clean"))
    settings = replace(COVERED, freeze="network", epochs=1)
    train(settings, people, tmp_path / "run", source, mask="decoder", quiet=True)
    assert lines(tmp_path / "run", "start")[0]["class_weights"] == "mean embeddings"


@pytest.mark.parametrize(
    "weights",
    [torch.zeros(32), torch.zeros(1, 16), torch.zeros(2, 16, dtype=torch.int32), torch.zeros(2, 8)],
    ids=["flat", "of one person", "whole numbers", "of another width"],
)
def test_class_weights_that_do_not_fit_are_none(tmp_path: Path, weights: Tensor) -> None:
    path, people = tmp_path / "state.safetensors", ("ann", "bob")
    header = {
        "format": "edgeface-training-state",
        "version": "1",
        "people": hashlib.sha256("\n".join(people).encode()).hexdigest(),
    }
    write_tensors(path, {"weight.margin.weight": weights}, header)
    assert read_class_weights(path, people, 16) is None
    write_tensors(path, {"weight.margin.weight": torch.ones(2, 16)}, header)
    found = read_class_weights(path, people, 16)
    assert found is not None and found.shape == (2, 16)
    write_tensors(path, {"weight.margin.weight": torch.ones(2, 16)}, {**header, "version": "0"})
    with pytest.raises(ArtefactError, match="cannot be read: move it away"):
        read_class_weights(path, people, 16)


def test_box_crops_train(tmp_path: Path) -> None:
    """128x96 crops with landmarks, one without, one picture of another size: trained on, listed, counted."""
    root, table = tmp_path / "boxes", {}
    for person in range(2):
        (root / str(person)).mkdir(parents=True)
        for number in range(3):
            picture = cv2.resize(synth_face(person, number), (96, 128))
            assert cv2.imwrite(str(root / str(person) / f"{number}.png"), picture)
            table[f"{person}/{number}.png"] = (TEMPLATE * (1, 128 / 112)).tolist()
    cv2.imwrite(str(root / "1" / "9.png"), synth_face(1, 9))
    del table["0/2.png"]
    (root / "landmarks.json").write_text(json.dumps(table))
    spec = build_spec("iresnet18", 0.125, mask="spatial", patterns=3, input_size=(128, 96))
    settings = replace(COVERED, epochs=1, batch=2, kinds=("sunglasses", "mask"), background="random")
    result = train(settings, root, tmp_path / "run", spec, quiet=True)
    assert load_checkpoint(result.checkpoint).model.spec.top_size == (8, 6)
    assert [(entry.path.name, entry.reason) for entry in result.skipped] == [
        ("9.png", "96x112, not 96 wide, 128 high")
    ]
    (start,) = lines(tmp_path / "run", "start")
    assert start["landmarks"] == "landmarks.json" and start["input_size"] == [128, 96]
    assert start["landmark_notes"] == [
        "1 pictures have no landmarks in landmarks.json, first 0/2.png: the others' mean is used"
    ]
    assert train(settings, root, tmp_path / "run", resume=True, quiet=True).done


def test_runs_of_older_versions_are_the_same_runs(people: Path, clean: Path, tmp_path: Path) -> None:
    """Without the younger settings run.json, its digest and the digest of an architecture are what they were."""
    settings = TrainSettings(epochs=3, batch=8, lr=0.05, threads=1, log_every=1, precision="fp32")
    old = {key: value for key, value in settings.to_dict().items() if key not in TrainSettings.ADDED}
    assert TrainSettings.from_dict(old) == settings
    assert settings.fixed() == {key: value for key, value in old.items() if key not in TrainSettings.FREE}
    assert "freeze" in replace(settings, freeze="trunk").fixed()
    text = json.dumps(SPEC.to_dict(), sort_keys=True)
    known = "2a75bc472ad2e1a659b9b33c245f98dd1cabd91f60fed051eaa332f781180f35"  # as version 0.1 wrote it
    assert hashlib.sha256(f"{text} None".encode()).hexdigest() == known
    out = tmp_path / "old"
    shutil.copytree(clean.parent, out)
    run = json.loads((out / "run.json").read_text())
    for key in TrainSettings.ADDED:
        del run["settings"][key]
    (out / "run.json").write_text(json.dumps(run))
    settings = TrainSettings.from_dict(run["settings"])
    assert train(settings, people, out, SPEC, resume=True, quiet=True).done
    with pytest.raises(InputError, match="--background none, now random"):
        train(replace(settings, background="random"), people, out, SPEC, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patterns": 6, "stage": "occluded"}, "--patterns must be 0 or one of 3, 4, 5, got 6"),
        ({"patterns": 4}, "--patterns needs covered faces: add --stage occluded"),
        ({"pattern_weight": -1.0}, "--pattern-weight must be between"),
        ({"freeze": "head"}, "unknown --freeze 'head': choose one of none, trunk, network"),
        ({"background": "blue"}, "unknown --background"),
        ({"background_part": 2.0}, "--background-part must be between"),
    ],
)
def test_settings_speak_in_flags(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainSettings(**changes)
