"""edgeface profile, and edgeface prune to a latency by it, through the real entry point."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from edgeface.data.synthetic import synth_face
from edgeface.models import CheckpointMeta, FaceNet, build_spec, load_checkpoint, save_checkpoint
from edgeface.models.digest import weights_digest
from edgeface.models.units import units
from edgeface_calibration.device_profile import read_profile

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("profile") / "dense.safetensors"
    save_checkpoint(path, FaceNet(build_spec("iresnet18", 0.125)).eval(), CheckpointMeta(stage="clean"))
    return path


@pytest.fixture(scope="module")
def profile(dense: Path, cli: Cli) -> Path:
    """Of the dense checkpoint: really timed, so nothing but its shape is known."""
    path = dense.with_name("profile.json")
    done = cli("profile", dense, "--out", path, "--rounds", 3, "--json")
    assert done.code == 0, done.err
    assert done.data["profile"] == str(path) and done.data["conditions"]["backend"] == "onnxruntime"
    return path


@pytest.fixture
def known(profile: Path, tmp_path: Path) -> Path:
    """The same with latencies that are known: a millisecond a unit, whatever its width."""
    data = json.loads(profile.read_text())
    for unit in data["units"].values():
        unit["ms"] = [1.0] * len(unit["ms"])
    data["factor"], data["offset_ms"] = 1.0, 0.0
    path = tmp_path / "known.json"
    path.write_text(json.dumps(data))
    return path


def test_a_profile_covers_its_network(dense: Path, profile: Path) -> None:
    found = read_profile(profile, {"backend": "onnxruntime", "device": "cpu", "precision": "fp32", "batch": 1})
    spec = load_checkpoint(dense).model.spec
    assert set(found.units) == {unit.key for unit in units(spec)}
    assert found.predict([(unit.key, unit.widths) for unit in units(spec)]) > 0
    assert len(found.checks) == 8 and all(check.measured_ms > 0 for check in found.checks)
    assert {"processor", "cores"} <= set(found.machine)


def test_graphs_exported_here_are_timed_there(dense: Path, tmp_path: Path, cli: Cli) -> None:
    blocks, out = tmp_path / "blocks", tmp_path / "there.json"
    done = cli("profile", dense, "--export", blocks)
    assert done.code == 0 and "edgeface profile blocks --out profile.json" in done.out
    assert cli("profile", blocks, "--out", out, "--rounds", 3, "--clock", "cpu").code == 0
    assert read_profile(out).clock == "cpu" and "stages 8 16 32 64" in read_profile(out).network
    before = out.read_bytes()
    refused = cli("profile", blocks, "--out", out, "--rounds", 3)
    assert refused.code == 2 and "replace it with --force" in refused.err and out.read_bytes() == before
    again = cli("profile", dense, "--export", blocks)
    assert again.code == 2 and "choose another --export" in again.err


def test_prune_to_a_latency(dense: Path, known: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "p.safetensors"
    flags = ("--device-profile", known, "--out", out, "--faces", 2)
    done = cli("prune", dense, "--target-latency", "8ms", *flags, "--json")
    assert done.code == 0, done.err
    assert done.data["before_ms"] == 10 and done.data["predicted_ms"] == 8
    assert len(done.data["blocks_removed"]) == 2
    model = load_checkpoint(out).model
    assert sum(len(stage.inner) for stage in model.spec.stages) == 6
    assert sum(p.numel() for p in model.parameters()) == done.data["after"]["parameters"]
    shown = cli("prune", dense, "--target-latency", "8000us", *flags, "--force")
    assert "8.000 ms predicted of 8 asked, 10.000 before" in shown.out and "block removed" in shown.out
    assert "blocks removed: stages." in shown.out


def test_what_is_left_can_be_refitted(dense: Path, known: Path, tmp_path: Path, cli: Cli) -> None:
    faces, cut, refitted = tmp_path / "faces", tmp_path / "cut.safetensors", tmp_path / "refitted.safetensors"
    for number in range(18):
        (faces / f"p{number}").mkdir(parents=True)
        cv2.imwrite(str(faces / f"p{number}" / "0.png"), synth_face(number, 0, 0))
    flags = ("--target-latency", "8ms", "--device-profile", known, "--data", faces, "--faces", 2)
    assert cli("prune", dense, *flags, "--out", cut).code == 0
    few = cli("prune", dense, *flags[:-1], 3, "--out", refitted, "--reconstruct", 16)
    assert few.code == 2 and "needs 16 faces besides the 3 of --faces" in few.err and not refitted.exists()
    done = cli("prune", dense, *flags, "--out", refitted, "--reconstruct", 16, "--json")
    assert done.code == 0 and len(done.data["blocks_removed"]) == 2, done.err
    one, other = load_checkpoint(cut), load_checkpoint(refitted)
    assert "refitted on 16 faces" in other.meta.history[-1] and "refitted" not in one.meta.history[-1]
    assert weights_digest(one.model) != weights_digest(other.model)


def test_blocks_can_be_kept(dense: Path, known: Path, tmp_path: Path, cli: Cli) -> None:
    flags = ("--device-profile", known, "--out", tmp_path / "p.safetensors", "--faces", 2, "--keep-blocks")
    refused = cli("prune", dense, "--target-latency", "8ms", *flags)
    assert refused.code == 2 and "cannot be reached: 10 ms can" in refused.err  # here only blocks cost anything


def test_a_target_that_is_met_changes_nothing(dense: Path, known: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "same.safetensors"
    done = cli("prune", dense, "--target-latency", 10, "--device-profile", known, "--out", out)
    assert done.code == 0 and "nothing was removed" in done.out
    assert load_checkpoint(out).model.spec == load_checkpoint(dense).model.spec
    assert load_checkpoint(out).meta == load_checkpoint(dense).meta


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("prune {dense} --out {new}", "give --ratio, or --target-latency with --device-profile"),
        (
            "prune {dense} --out {new} --ratio .5 --target-latency 4",
            "--ratio and --target-latency contradict each other",
        ),
        ("prune {dense} --out {new} --target-latency 4", "--device-profile (made by edgeface profile) is missing"),
        ("prune {dense} --out {new} --ratio .5 --device-profile {known}", "--ratio and --device-profile contradict"),
        (
            "prune {dense} --out {new} --target-latency 4 --device-profile {known} --uniform",
            "--uniform goes with",
        ),
        (
            "prune {dense} --out {new} --target-latency 4 --device-profile {known} --reconstruct 64",
            "refits on real faces: give them with --data",
        ),
        ("prune {dense} --out {new}.onnx --ratio .5", "a checkpoint's name ends in .safetensors"),
        ("prune {dense} --out {new} --ratio .5 --keep-blocks", "--keep-blocks goes with --target-latency"),
        ("prune {dense} --out {new} --target-latency fast --device-profile {known}", "a time such as 4ms or 800us"),
        ("prune {dense} --out {new} --target-latency -4 --device-profile {known}", "a time such as 4ms or 800us"),
        ("prune {dense} --out {new} --target-latency 5.9 --device-profile {known}", "cannot be reached: 6 ms can"),
        ("prune {dense} --out {new} --target-latency 4 --device-profile {dense}", "damaged device profile"),
        ("prune {dense} --out {new} --target-latency 4 --device-profile {new}", "device profile not found"),
        ("prune {dense} --out {new} --target-latency 4 --device-profile {known} --round-to 0", "--round-to must be"),
        ("prune {dense} --out {new} --target-latency 4 --device-profile {known} --method b", "unknown --method 'b'"),
        ("profile {dense}", "give --out for a profile of this device, or --export"),
        ("profile {dense} --out {new} --export {new}", "give --out for a profile of this device, or --export"),
        ("profile {dense} --out {new} --width .5", "--width is for a network without a checkpoint"),
        ("profile {dense} --out {new} --precision int8", "--precision int8 cannot be profiled"),
        ("profile --arch nope --out {new}", "unknown --arch 'nope'"),
        ("profile {folder} --out {new}", "index of block graphs not found"),
        ("profile {folder} --out {new} --precision fp16", "--precision is for networks"),
        ("profile {known} --out {new}", "known.json"),
        ("profile {dense} --out {known} --rounds 1", "--rounds must be at least 3, got 1"),
        ("profile {dense} --out {dense}", "exists and is no device profile"),
        ("profile {dense} --out {new} --clock cpu --threads 2", "--clock cpu is the time of one thread"),
        ("profile {dense} --out {new} --backend tpu", "unknown backend 'tpu'"),
    ],
)
def test_bad_input_is_one_line(words: str, message: str, dense: Path, known: Path, tmp_path: Path, cli: Cli) -> None:
    new, folder = tmp_path / "new", tmp_path / "folder"
    folder.mkdir()
    done = cli(*words.format(dense=dense, known=known, new=new, folder=folder).split())
    assert done.code == 2 and message in done.err and len(done.err.strip().splitlines()) == 1
    assert not new.exists()
