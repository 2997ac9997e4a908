"""Training a dictionary end to end on a few procedural faces: files, resuming, refusals, matching."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edgeface.data import write_synthetic
from edgeface.data.folders import scan
from edgeface.dictionary import DictionarySettings, train_dictionary
from edgeface.dictionary import run as run_module
from edgeface.models import CheckpointMeta, FaceNet, build_spec, load_checkpoint, save_checkpoint
from edgeface.training import TrainSettings, train
from edgeface_runtime.dictionary import load_dictionary
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import ArtefactError, GateError, InputError
from edgeface_runtime.image import read_image
from edgeface_runtime.manifest import InputSpec

SPEC = build_spec("iresnet18", 0.125)
TINY = DictionarySettings(kind="lm2", pairs=12, epochs=2, batch=4, validation=0.25, threads=1, precision="fp32")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "people"
    write_synthetic(root, 4, 4)
    return root


@pytest.fixture(scope="module")
def network(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "clean"
    settings = TrainSettings(epochs=2, batch=8, lr=0.05, threads=1, precision="fp32")
    return train(settings, people, out, SPEC, quiet=True).checkpoint


@pytest.fixture(scope="module")
def trained(people: Path, network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "lm2"
    result = train_dictionary(TINY, people, network, out, quiet=True)
    assert result.done and set(result.pairs.values()) == {12}
    return out


def lines(out: Path, event: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == event]


def test_a_run_leaves_its_files(trained: Path) -> None:
    names = {entry.name for entry in trained.iterdir()}
    assert names >= {"run.json", "log.jsonl", "generators.safetensors", "dictionary.npz"}
    found = load_dictionary(trained / "dictionary.npz")
    assert found.kind == "lm2" and found.names == ("forehead", "eyes", "nose", "mouth", "chin")
    assert found.masks.shape == (5, SPEC.top_channels, 7, 6) and found.input_size == (112, 96)
    for mask in found.masks:
        # Equal values at the percentile go together; a dead channel has some; which are dead differs by CPU.
        assert 0.298 <= 1 - mask.mean() <= 0.298 + 7 * 6 / mask.size
    assert found.extra["tau"] == 0.30 and found.extra["data"] == "people: 4 people, 16 faces"
    assert [entry["region"] for entry in lines(trained, "region")] == list(found.names)
    assert lines(trained, "classes")[0]["weights"].startswith("from state.safetensors")


def test_the_picture_shows_every_region(trained: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    image = read_image(trained / "dictionary.png")
    assert image.shape[1] > 800 and image.std() > 20


def test_it_keeps_the_mean_of_clean_features(trained: Path, people: Path, network: Path, tmp_path: Path) -> None:
    found = load_dictionary(trained / "dictionary.npz")
    assert found.discarded == "mean" and found.mean is not None
    crops = np.stack([read_image(path) for path, _ in scan(people).samples])
    assert len(crops) > TINY.pairs, "the run took some of them"
    model = load_checkpoint(network).model.eval()
    with torch.inference_mode():
        features = model.top_map(torch.from_numpy(to_batch(crops, InputSpec(112, 96)))).numpy()
    low, high = (np.sort(features, 0)[part].mean(0) for part in (slice(0, TINY.pairs), slice(-TINY.pairs, None)))
    assert ((found.mean >= low - 1e-2) & (found.mean <= high + 1e-2)).all(), "a mean of 12 of the 16 faces' features"
    shutil.copytree(trained, tmp_path / "zero")
    train_dictionary(replace(TINY, discarded="zero"), people, network, tmp_path / "zero", resume=True, quiet=True)
    zero = load_dictionary(tmp_path / "zero" / "dictionary.npz")
    assert zero.discarded == "zero" and zero.mean is not None
    assert (zero.mean == found.mean).all() and (zero.masks == found.masks).all()


def test_cells_lose_their_own_features_without_training(people: Path, network: Path, tmp_path: Path) -> None:
    settings = DictionarySettings(kind="cell", pairs=12, threads=1)
    result = train_dictionary(settings, people, network, tmp_path / "cell", quiet=True)
    found = load_dictionary(tmp_path / "cell" / "dictionary.npz")
    assert result.done and result.pairs == {} and found.discarded == "mean" and found.mean is not None
    assert found.masks.shape == (42, SPEC.top_channels, 7, 6) and found.extra["tau"] is None
    covered = np.zeros((112, 96), bool)
    covered[16:32, 32:64], covered[48:57, :16], covered[64:72, :16] = True, True, True
    # Two cells whole, one by 9 of its 16 rows, one by no more than half.
    fdm = found.fdm(found.covered(covered))
    gone = sorted(zip(*(part.tolist() for part in np.nonzero(~fdm[0])), strict=True))
    assert gone == [(1, 2), (1, 3), (3, 0)] and (fdm == fdm[0]).all(), "in every channel"
    again = train_dictionary(settings, people, network, tmp_path / "cell", resume=True, quiet=True)
    assert again.done and (load_dictionary(again.path).mean == found.mean).all()
    with pytest.raises(ValueError, match="--mask cell has no --tau"):
        replace(settings, tau=0.5)


def test_two_runs_are_equal(trained: Path, people: Path, network: Path, tmp_path: Path) -> None:
    train_dictionary(TINY, people, network, tmp_path / "again", quiet=True)
    one, two = (load_dictionary(folder / "dictionary.npz") for folder in (trained, tmp_path / "again"))
    assert (one.masks == two.masks).all()


def test_resuming_goes_on_with_the_next_region(
    trained: Path, people: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "stopped"
    real, calls = run_module.fit_generator, []

    def stopping(region: str, *rest: Any) -> Any:
        calls.append(region)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(region, *rest)

    monkeypatch.setattr(run_module, "fit_generator", stopping)
    result = train_dictionary(TINY, people, network, out, quiet=True)
    assert not result.done and not result.path.exists() and list(result.pairs) == ["forehead", "eyes"]
    result = train_dictionary(TINY, people, network, out, resume=True, quiet=True)
    assert result.done and list(result.pairs) == ["nose", "mouth", "chin"]
    assert calls == ["forehead", "eyes", "nose", "nose", "mouth", "chin"]
    one, two = (load_dictionary(folder / "dictionary.npz") for folder in (trained, out))
    assert (one.masks == two.masks).all()
    # Another percentile needs no training.
    train_dictionary(replace(TINY, tau=0.5), people, network, out, resume=True, quiet=True)
    assert len(calls) == 6
    half = load_dictionary(out / "dictionary.npz")
    assert 0.498 <= 1 - half.masks[0].mean() <= 0.498 + 7 * 6 / half.masks[0].size
    assert not (half.masks & ~one.masks).any(), "what a smaller percentile discards, a larger one does too"


def test_what_would_lose_something_is_refused(trained: Path, people: Path, network: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a run already"):
        train_dictionary(TINY, people, network, trained, quiet=True)
    with pytest.raises(InputError, match=r"cannot resume .* --seed 0, now 1"):
        train_dictionary(replace(TINY, seed=1), people, network, trained, resume=True, quiet=True)
    with pytest.raises(InputError, match="no run to resume"):
        train_dictionary(TINY, people, network, tmp_path / "none", resume=True, quiet=True)
    with pytest.raises(InputError, match=r"cannot resume .* with --mask lm2, now grid"):
        train_dictionary(replace(TINY, kind="grid"), people, network, trained, resume=True, quiet=True)
    with pytest.raises(InputError, match="made with --stage clean, now dictionary"):
        train_dictionary(TINY, people, network, network.parent, resume=True, quiet=True)


def test_a_damaged_generator_file_is_refused(people: Path, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_dictionary(replace(TINY, kind="lm1", epochs=1, pairs=4), people, network, out, quiet=True)
    path = out / "generators.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtefactError, match="damaged"):
        train_dictionary(replace(TINY, kind="lm1", epochs=1, pairs=4), people, network, out, resume=True, quiet=True)


def test_networks_and_pictures_that_do_not_fit(people: Path, network: Path, tmp_path: Path) -> None:
    masked = tmp_path / "masked.safetensors"
    save_checkpoint(masked, FaceNet(build_spec("iresnet18", 0.125, mask="decoder")), CheckpointMeta())
    with pytest.raises(InputError, match="mask of its own"):
        train_dictionary(TINY, people, masked, tmp_path / "a", quiet=True)
    other = tmp_path / "other"
    for person in "ab":
        (other / person).mkdir(parents=True)
        cv2.imwrite(str(other / person / "1.png"), np.zeros((50, 40, 3), np.uint8))
    with pytest.raises(InputError, match="40x50, but the network takes 96x112"):
        train_dictionary(TINY, other, network, tmp_path / "b", quiet=True)


def test_diverging_is_said(people: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeface.dictionary import fit

    def broken(*args: Any) -> fit.PairLoss:
        bad = torch.tensor(float("nan"), requires_grad=True)
        return fit.PairLoss(bad, bad, bad)

    monkeypatch.setattr(fit, "pair_loss", broken)
    with pytest.raises(GateError, match="region forehead diverged in epoch 1: use a smaller --lr"):
        train_dictionary(TINY, people, network, tmp_path / "run", quiet=True)


def test_box_crops_per_face(people: Path, tmp_path: Path) -> None:
    """Another network on 128x96 crops, with landmarks of its own per face; one outside, one missing, one damaged,
    one whose landmarks coincide."""
    boxes = tmp_path / "boxes"
    points: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for path, _ in scan(people).samples:
        name = path.relative_to(people).as_posix()
        (boxes / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(boxes / name), cv2.resize(read_image(path), (96, 128)))
        base = np.array([(30, 58), (66, 58), (48, 82), (34, 104), (62, 104)]) + rng.integers(-6, 7, 2)
        points[name] = base.tolist()
    first, second, third, fourth = sorted(points)[:4]
    points[first][0][0] = -3
    del points[second]
    points[fourth] = [[40, 60]] * 5
    (boxes / third).write_bytes(b"\xff\xd8\xff damaged")
    (boxes / "landmarks.json").write_text(json.dumps(points))
    network = tmp_path / "net.safetensors"
    spec = build_spec("resnet34", 0.0625, input_size=(128, 96))
    save_checkpoint(network, FaceNet(spec), CheckpointMeta())
    settings = replace(TINY, kind="lmface", pairs=1000, epochs=1)
    result = train_dictionary(settings, boxes, network, tmp_path / "run", quiet=True)
    found = result.dictionary
    assert found is not None and found.per_face and found.masks.shape[2:] == spec.top_size
    assert result.outside == 1 and set(result.pairs.values()) == {13}
    reasons = {entry.path.relative_to(boxes).as_posix(): entry.reason for entry in result.skipped}
    assert reasons[second] == reasons[fourth] == "no usable landmarks"
    assert "truncated" in reasons[third] and len(reasons) == 3
    own = np.array([(30, 58), (66, 58), (48, 82), (34, 104), (62, 104)])
    assert found.regions_for(own)[4].box != found.regions[4].box
    (start,) = lines(tmp_path / "run", "start")
    assert (start["landmarks_outside"], start["landmarks_missing"], start["landmarks_unusable"]) == (1, 1, 1)
    assert lines(tmp_path / "run", "classes")[0]["weights"] == "mean embeddings"


def test_other_trunks_and_learned_classes(people: Path, tmp_path: Path) -> None:
    network = tmp_path / "net.safetensors"
    spec = build_spec("mobilefacenet", 0.125)
    save_checkpoint(network, FaceNet(spec), CheckpointMeta())
    settings = replace(TINY, kind="grid", grid=2, epochs=1, pairs=6, learn_classes=True, fill="mix")
    found = train_dictionary(settings, people, network, tmp_path / "run", quiet=True).dictionary
    assert found is not None and found.masks.shape == (4, spec.top_channels, 7, 6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "lm3"}, "unknown --mask 'lm3'"),
        ({"tau": 1.0}, "--tau must be between 0 and 1"),
        ({"lr": 0.0}, "--lr must be above 0"),
        ({"pairs": 1}, "--pairs must be between 4"),
        ({"fill": "paint"}, "unknown --fill"),
    ],
)
def test_settings_speak_the_command_lines_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TINY, **change)


def test_a_dictionary_knows_its_network(network: Path, trained: Path) -> None:
    from edgeface.models import FaceNet, load_checkpoint
    from edgeface.models.digest import check_same_network

    dictionary, model = load_dictionary(trained / "dictionary.npz"), load_checkpoint(network).model
    check_same_network(dictionary, model, "it")
    with pytest.raises(InputError, match="it was made for other weights"):
        check_same_network(dictionary, FaceNet(model.spec).eval(), "it")


def test_a_refused_start_does_not_take_the_folder(network: Path, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError):
        train_dictionary(replace(TINY, kind="grid", grid=9), people, network, out, quiet=True)
    assert not (out / "run.json").exists()
    train_dictionary(replace(TINY, kind="grid", grid=1, epochs=1, pairs=6), people, network, out, quiet=True)
    assert (out / "dictionary.npz").is_file()
