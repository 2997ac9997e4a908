"""Pruning from checkpoint to checkpoint, and before training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeface.data.sample import sample_faces
from edgeface.models import CheckpointMeta, FaceNet, build_spec, load_checkpoint, save_checkpoint
from edgeface.pruning.first import prune_untrained
from edgeface.pruning.run import prune_checkpoint
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import InputSpec


def test_history_and_ratios_add_up(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FaceNet(build_spec("iresnet18", 0.5)).eval()
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_checkpoint(first, model, CheckpointMeta(stage="clean", history=("trained",), accuracy=({"protocol": "x"},)))
    prune_checkpoint(load_checkpoint(first), 0.5, second)
    prune_checkpoint(load_checkpoint(second), 0.2, second)
    meta = load_checkpoint(second).meta
    assert meta.stage == "pruned"
    assert meta.ratio_requested == pytest.approx(1 - 0.5 * 0.8)
    assert meta.history[0] == "trained" and len(meta.history) == 3
    assert meta.accuracy == (), "an accuracy of the network before pruning says nothing of it after"
    filters = sum(m.out_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    left = sum(m.out_channels for m in load_checkpoint(second).model.modules() if isinstance(m, torch.nn.Conv2d))
    assert meta.ratio_achieved == pytest.approx(1 - left / filters, abs=1e-5)


def test_pruning_first_is_reproducible_and_kept(tmp_path: Path) -> None:
    spec, faces = build_spec("iresnet18", 0.25), sample_faces(None, 2)
    a = prune_untrained(spec, 0.5, tmp_path / "a", 3, faces.crops, faces.source)
    b = prune_untrained(spec, 0.5, tmp_path / "b", 3, faces.crops, faces.source)
    first, second = load_checkpoint(a).model.state_dict(), load_checkpoint(b).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    stamp = a.stat().st_mtime_ns
    prune_untrained(spec, 0.5, tmp_path / "a", 3, faces.crops, faces.source, keep=True)
    assert a.stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match=r"begun with --prune-first 0\.5, now 0\.3"):
        prune_untrained(spec, 0.3, tmp_path / "a", 3, faces.crops, faces.source, keep=True)
    prune_untrained(spec, 0.3, tmp_path / "a", 3, faces.crops, faces.source)
    assert load_checkpoint(a).meta.ratio_requested == 0.3


def test_a_refitted_network_is_nearer_to_the_whole_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FaceNet(build_spec("iresnet18", 0.25)).eval()
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(whole, model, CheckpointMeta(stage="clean"))
    crops = sample_faces(None, 72).crops
    unseen = torch.from_numpy(to_batch(crops[48:], InputSpec(height=112, width=96)))
    away = {}
    for name, refit in (("cut", None), ("refitted", crops[:48])):
        prune_checkpoint(load_checkpoint(whole), 0.3, tmp_path / f"{name}.safetensors", refit=refit)
        found = load_checkpoint(tmp_path / f"{name}.safetensors")
        assert ("refitted on 48 faces" in found.meta.history[-1]) == (name == "refitted")
        with torch.no_grad():
            away[name] = float((model(unseen) - found.model(unseen)).square().mean())
    assert away["refitted"] < 0.5 * away["cut"], away
