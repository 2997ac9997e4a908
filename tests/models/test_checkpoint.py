"""The checkpoint rebuilds the network from the file alone and refuses what it cannot trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from edgeface.models import CheckpointMeta, FaceNet, build_spec, load_checkpoint, save_checkpoint
from edgeface.models.checkpoint import record_accuracy
from edgeface_runtime.errors import ArtefactError, InputError


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, FaceNet]:
    torch.manual_seed(0)
    model = FaceNet(build_spec("iresnet18", 0.125, mask="decoder")).eval()
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, model, CheckpointMeta(stage="clean", seed=7, history=("made",)))
    return path, model


def test_round_trip(saved: tuple[Path, FaceNet]) -> None:
    path, model = saved
    loaded = load_checkpoint(path)
    x = torch.randn(2, 3, 112, 96)
    with torch.no_grad():
        assert torch.equal(loaded.model(x), model(x))
    assert loaded.meta == CheckpointMeta(stage="clean", seed=7, history=("made",))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_accuracy_is_recorded_once_per_protocol(saved: tuple[Path, FaceNet]) -> None:
    path, _ = saved
    record_accuracy(path, {"protocol": "lfw", "accuracy": 0.5})
    record_accuracy(path, {"protocol": "lfw", "accuracy": 0.6})
    record_accuracy(path, {"protocol": "occ", "accuracy": 0.4})
    assert [entry["accuracy"] for entry in load_checkpoint(path).meta.accuracy] == [0.6, 0.4]


def test_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ArtefactError, match="pickle"):
        load_checkpoint(path)


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    torch.save({"a": torch.zeros(1)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ArtefactError, match="pickle"):
        load_checkpoint(path)


@pytest.mark.parametrize("start", [0x80, 0x4B50])
def test_a_header_length_that_looks_like_a_pickle_is_none(saved: tuple[Path, FaceNet], start: int) -> None:
    """safetensors begins with the header's length: its low byte may be 0x80, its low two bytes PK."""
    path, _ = saved
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    mask = 0xFF if start < 0x100 else 0xFFFF
    wanted = length + (start - length) % (mask + 1)
    header = whole[8 : 8 + length] + b" " * (wanted - length)
    path.write_bytes(wanted.to_bytes(8, "little") + header + whole[8 + length :])
    assert load_checkpoint(path).meta.seed == 7
    if start == 0x80:
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(ArtefactError, match="damaged or truncated"):
            load_checkpoint(path)


def test_damage_is_refused(saved: tuple[Path, FaceNet], tmp_path: Path) -> None:
    path, _ = saved
    whole = path.read_bytes()
    for size in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtefactError, match="damaged or truncated"):
            load_checkpoint(path)
    with pytest.raises(InputError, match="not found"):
        load_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="folder"):
        load_checkpoint(tmp_path)


def _rewrite(path: Path, **changes: str) -> None:
    with safe_open(str(path), framework="pt") as stream:
        metadata = {**stream.metadata(), **changes}
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    save_file(tensors, str(path), metadata=metadata)


def test_foreign_and_newer_files_are_refused(saved: tuple[Path, FaceNet]) -> None:
    path, model = saved
    _rewrite(path, version="2")
    with pytest.raises(ArtefactError, match="upgrade"):
        load_checkpoint(path)
    _rewrite(path, version="1", format="other")
    with pytest.raises(ArtefactError, match="not an edgeface checkpoint"):
        load_checkpoint(path)
    _rewrite(path, format="edgeface-checkpoint", arch=json.dumps(build_spec("iresnet18", 0.25).to_dict()))
    with pytest.raises(ArtefactError, match="do not fit"):
        load_checkpoint(path)
    model.head[2].weight.data[0, 0] = float("nan")
    save_checkpoint(path, model, CheckpointMeta())
    with pytest.raises(ArtefactError, match="not finite"):
        load_checkpoint(path)


def test_a_full_disk_is_one_line(saved: tuple[Path, FaceNet], monkeypatch: pytest.MonkeyPatch) -> None:
    path, model = saved
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("edgeface.models.tensor_file.save_file", full)
    with pytest.raises(InputError, match=rf"^cannot write {path}: no space left on device$"):
        save_checkpoint(path, model, CheckpointMeta())
    assert path.read_bytes() == before and [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_write_that_really_fails_is_one_line(
    saved: tuple[Path, FaceNet], small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    path, model = saved
    refused = pytest.raises(InputError, match=rf"^cannot write {path.parent}/new: File too large$")
    with refused, small_files(100_000):
        save_checkpoint(path.with_name("new"), model, CheckpointMeta())
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_numpy_file_is_not_called_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    np.savez(path, scores=np.zeros(3))
    with pytest.raises(ArtefactError, match="is a NumPy file"):
        load_checkpoint(path)
    torch.save({"a": 1}, tmp_path / "net.pth")
    with pytest.raises(ArtefactError, match="holds a pickle"):
        load_checkpoint(tmp_path / "net.pth")
