"""The training loop on a tiny network: it learns, resumes to the same weights, refuses what would lose something."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from edgeface.data import scan, write_synthetic
from edgeface.data.faces import load_faces
from edgeface.models import FaceNet, build_spec, load_checkpoint, save_checkpoint
from edgeface.models.extend import add_mask, remaining_width
from edgeface.training import TrainSettings, job, learning_rate, read_run, train
from edgeface.training.device import choose_device, choose_precision
from edgeface.training.start import imprint
from edgeface_runtime.errors import ArtefactError, DeviceError, GateError, InputError

SPEC = build_spec("iresnet18", 0.125)
TINY = TrainSettings(epochs=3, batch=8, lr=0.05, threads=1, log_every=1, precision="fp32")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "people"
    write_synthetic(root, 4, 6)
    return root


@pytest.fixture(scope="module")
def straight(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs without a stop."""
    out = tmp_path_factory.mktemp("runs") / "straight"
    result = train(TINY, people, out, SPEC, quiet=True)
    assert result.done and result.epochs == 3 and result.checkpoint == out / "model.safetensors"
    return out


def lines(out: Path, event: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == event]


def test_a_run_leaves_its_files(straight: Path) -> None:
    names = {entry.name for entry in straight.iterdir()}
    assert names == {"run.json", "log.jsonl", "state.safetensors", "last.safetensors", "model.safetensors"}
    checkpoint = load_checkpoint(straight / "model.safetensors")
    assert checkpoint.model.spec == SPEC
    meta = checkpoint.meta
    assert (meta.stage, meta.loss, meta.epochs, meta.faces_seen) == ("clean", "cosface", 3, 72)
    assert meta.data == "people: 4 people, 24 faces"
    assert len(meta.history) == 2 and meta.history[1].startswith("clean: 3 epochs, cosface, lr 0.05, batch 8, seed 0")
    assert [entry["step"] for entry in lines(straight, "step")] == [1, 2, 3] * 3
    epochs = lines(straight, "epoch")
    assert [entry["epoch"] for entry in epochs] == [1, 2, 3]
    assert {"loss", "accuracy", "lr", "faces_per_s", "seconds"} <= set(epochs[0])
    (start,) = lines(straight, "start")
    assert start["device"] == "cpu" and start["precision"] == "fp32" and start["threads"] == 1


def test_it_learns(people: Path, tmp_path: Path) -> None:
    settings = TrainSettings(epochs=6, batch=8, lr=0.1, threads=1, precision="fp32", warmup=0.1)
    result = train(settings, people, tmp_path / "run", SPEC, quiet=True)
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert lines(tmp_path / "run", "epoch")[-1]["accuracy"] > 0.8, "chance is .25"


def assert_same(out: Path, other: Path) -> None:
    """Bit-equal weights and the same metadata."""
    ours, theirs = (load_checkpoint(folder / "model.safetensors") for folder in (out, other))
    assert ours.meta == theirs.meta
    for name, value in theirs.model.state_dict().items():
        assert torch.equal(value, ours.model.state_dict()[name]), name


CHILD = """
import json, sys
from pathlib import Path
from edgeface.models import build_spec
from edgeface.training import TrainSettings, train
settings = TrainSettings.from_dict(json.loads(sys.argv[1]))
result = train(settings, Path(sys.argv[2]), Path(sys.argv[3]), build_spec("iresnet18", 0.125), quiet=True)
print(result.digest)
"""


def child(settings: TrainSettings, people: Path, out: Path, *torchrun: str) -> list[str]:
    start = [sys.executable, *torchrun]
    if not torchrun:
        start += ["-c", CHILD]
    return [*start, json.dumps(settings.to_dict()), str(people), str(out)]


def test_killed_and_resumed_is_bit_equal(people: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = subprocess.Popen(child(TINY, people, out), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "log.jsonl").exists() and '"epoch": 2, "step": 1' in (out / "log.jsonl").read_text():
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert (out / "state.safetensors").exists() and not (out / "model.safetensors").exists()
    with (out / "log.jsonl").open("a") as stream:
        stream.write('{"event": "st')  # as a kill may leave it
    (out / ".last.safetensors.x.part").write_bytes(b"half")
    (out / "last.safetensors").write_bytes(b"")  # a kill between the state and it
    result = train(replace(TINY, log_every=2), people, out, SPEC, resume=True, quiet=True)
    assert result.done and not list(out.glob(".*.part"))
    assert_same(out, straight)
    assert [entry["epoch"] for entry in lines(out, "epoch")] == [1, 2, 3]
    assert [entry["loss"] for entry in lines(out, "epoch")] == [entry["loss"] for entry in lines(straight, "epoch")]
    assert len(lines(out, "start")) == 2
    assert (out / "last.safetensors").stat().st_size > 0


def test_resume_before_the_first_epoch_starts_again(people: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "early"
    out.mkdir()
    (out / "run.json").write_bytes((straight / "run.json").read_bytes())
    with pytest.raises(InputError, match="no finished epoch"):
        train(TINY, people, out, resume=True, quiet=True)
    train(TINY, people, out, SPEC, resume=True, quiet=True)
    assert_same(out, straight)


def test_a_finished_run_resumes_to_itself(people: Path, straight: Path) -> None:
    before = (straight / "model.safetensors").read_bytes()
    result = train(read_run(straight).settings, people, straight, resume=True, quiet=True)
    assert result.done and result.epochs == 3 and (straight / "model.safetensors").read_bytes() == before


def test_nothing_is_overwritten(people: Path, straight: Path, tmp_path: Path) -> None:
    before = {entry.name: entry.read_bytes() for entry in straight.iterdir()}
    with pytest.raises(InputError, match=r"holds a run already .*--resume"):
        train(TINY, people, straight, SPEC, quiet=True)
    refusals = [
        (replace(TINY, lr=0.2, batch=4), SPEC, people, "--batch 8, now 4; --lr 0.05, now 0.2"),
        (TINY, build_spec("iresnet18", 0.25), people, "start iresnet18"),
    ]
    other = tmp_path / "other"
    write_synthetic(other, 2, 2)
    refusals.append((TINY, SPEC, other, "data people: 4 people, 24 faces, now other: 2 people, 4 faces"))
    for settings, spec, data, words in refusals:
        with pytest.raises(InputError) as caught:
            train(settings, data, straight, spec, resume=True, quiet=True)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="holds no run to resume"):
        train(TINY, people, tmp_path / "nothing", SPEC, resume=True, quiet=True)
    assert not (tmp_path / "nothing").exists()
    assert {entry.name: entry.read_bytes() for entry in straight.iterdir()} == before


def test_damaged_state_is_one_line(people: Path, straight: Path, tmp_path: Path) -> None:
    for name in ("run.json", "state.safetensors"):
        out = tmp_path / name
        out.mkdir()
        for kept in ("run.json", "state.safetensors"):
            data = (straight / kept).read_bytes()
            (out / kept).write_bytes(data[: len(data) // 2] if kept == name else data)
        with pytest.raises(ArtefactError, match="damaged") as caught:
            train(TINY, people, out, SPEC, resume=True, quiet=True)
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("edgeface.models.tensor_file.save_file", full)
    out = tmp_path / "run"
    with pytest.raises(InputError, match=rf"cannot write {out}/state.safetensors: no space left on device"):
        train(replace(TINY, epochs=1), people, out, SPEC, quiet=True)
    assert not list(out.glob(".*"))


def test_divergence_keeps_the_last_epoch(
    people: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = job.learning_rate
    monkeypatch.setattr(job, "learning_rate", lambda s, step, steps: math.nan if step > 3 else rates(s, step, steps))
    out = tmp_path / "nan"
    with pytest.raises(GateError, match=r"diverged.*epoch 2.*epoch 1 is kept in .*last.safetensors") as caught:
        train(TINY, people, out, SPEC, quiet=True)
    assert "\n" not in str(caught.value)
    assert load_checkpoint(out / "last.safetensors").meta.epochs == 1
    assert lines(out, "stop")[0]["epochs"] == 1


def test_ctrl_c_says_how_to_go_on(
    people: Path,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupt(settings: TrainSettings, step: int, steps: int) -> float:
        if step == 4:
            raise KeyboardInterrupt
        return learning_rate(settings, step, steps)

    out = tmp_path / "stopped"
    monkeypatch.setattr(job, "learning_rate", interrupt)
    result = train(TINY, people, out, SPEC)
    captured = capfd.readouterr()
    assert not result.done and result.epochs == 1 and result.checkpoint == out / "last.safetensors"
    assert "--resume" in captured.err and captured.out == ""
    monkeypatch.undo()
    train(TINY, people, out, SPEC, resume=True, quiet=True)
    assert_same(out, straight)


def test_occluded_stage_adds_a_mask(people: Path, straight: Path, tmp_path: Path) -> None:
    settings = replace(TINY, stage="occluded", epochs=1, lr=None, scale=(1, 3))
    out = tmp_path / "occluded"
    result = train(settings, people, out, straight / "model.safetensors", mask="decoder", quiet=True)
    after = load_checkpoint(result.checkpoint)
    assert after.model.spec.mask is not None and after.model.spec.mask.decoder == 32
    assert (after.meta.stage, after.meta.epochs) == ("occluded", 4)
    assert after.meta.history[-2] == "mask decoder added"
    assert "67% of the samples covered (mix)" in after.meta.data
    assert lines(out, "start")[0]["class_weights"] == "from state.safetensors beside the checkpoint"
    assert lines(out, "epoch")[0]["lr"] == 1e-4, "after 25/40 of the run .01 was divided twice"
    with pytest.raises(InputError, match="would drop"):
        train(settings, people, tmp_path / "x", result.checkpoint, mask="none", quiet=True)
    assert not (tmp_path / "x").exists()


def test_occluded_bf16_resumes_bit_equal(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(TINY, stage="occluded", epochs=2, precision="bf16")
    spec = build_spec("iresnet18", 0.125, mask="decoder")
    whole = train(settings, people, tmp_path / "whole", spec, quiet=True)

    def interrupt(asked: TrainSettings, step: int, steps: int) -> float:
        if step == 4:
            raise KeyboardInterrupt
        return learning_rate(asked, step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(job, "learning_rate", interrupt)
        assert not train(settings, people, tmp_path / "parts", spec, quiet=True).done
    parts = train(settings, people, tmp_path / "parts", spec, resume=True, quiet=True)
    assert parts.digest == whole.digest


def test_sample_processes_change_nothing(people: Path, tmp_path: Path) -> None:
    """After a run in this process, as OpenMP's threads are then running; and with faces read from disk."""
    settings = replace(TINY, stage="occluded", epochs=1)
    digests = {
        train(changed, people, tmp_path / str(number), SPEC, quiet=True).digest
        for number, changed in enumerate((settings, replace(settings, workers=1), replace(settings, memory_mib=0)))
    }
    assert len(digests) == 1


def test_class_weights_start_at_mean_embeddings(people: Path, straight: Path, tmp_path: Path) -> None:
    """From a checkpoint elsewhere, or with other people, trained embeddings already point to their person."""
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((straight / "model.safetensors").read_bytes())
    faces = load_faces(scan(people))
    weights = imprint(load_checkpoint(alone).model, faces)
    assert weights.shape == (4, 512)
    assert torch.allclose(weights.norm(dim=1), torch.ones(4), atol=1e-5)
    out = tmp_path / "run"
    train(replace(TINY, epochs=1, lr=1e-4), people, out, alone, quiet=True)
    assert lines(out, "start")[0]["class_weights"] == "mean embeddings"
    assert lines(out, "step")[0]["accuracy"] > 0.5


def test_add_mask_keeps_what_is_trained() -> None:
    torch.manual_seed(0)
    model = FaceNet(SPEC).eval()
    masked = add_mask(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, masked.state_dict()[name])
    assert not masked.training
    assert remaining_width(build_spec("iresnet50", 1.0)) == 1
    full = build_spec("iresnet50", 0.5)
    assert remaining_width(full) == pytest.approx(0.5, abs=0.01)
    wide = add_mask(model, ratio=0.3).spec.mask
    assert wide is not None and wide.decoder == 176, "256 x .7 = 179.2, rounded to 8"
    with pytest.raises(InputError, match="already"):
        add_mask(masked)


def test_schedule_scales_with_the_epochs() -> None:
    forty = TrainSettings()
    rates = [learning_rate(forty, epoch * 10, 400) for epoch in range(40)]
    assert [epoch for epoch in range(1, 40) if rates[epoch] != rates[epoch - 1]] == [15, 30]
    assert (rates[0], rates[15], rates[30]) == pytest.approx((0.1, 0.01, 0.001))
    occluded = [learning_rate(TrainSettings(stage="occluded"), epoch * 10, 400) for epoch in range(40)]
    assert [epoch for epoch in range(1, 40) if occluded[epoch] != occluded[epoch - 1]] == [10, 25]
    assert occluded[0] == 0.01
    eight = TrainSettings(epochs=8)
    assert [learning_rate(eight, epoch, 8) for epoch in (2, 3, 5, 6)] == pytest.approx([0.1, 0.01, 0.01, 0.001])
    warm = TrainSettings(warmup=0.1, schedule="cosine")
    assert [learning_rate(warm, step, 100) for step in (0, 9, 10, 55)] == pytest.approx([0.01, 0.1, 0.1, 0.05])
    assert learning_rate(warm, 99, 100) < 1e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stage": "dark"}, "unknown --stage 'dark': choose one of clean, occluded"),
        ({"loss": "softmax"}, "unknown --loss"),
        ({"epochs": 0}, "--epochs must be"),
        ({"batch": 1}, "--batch must be between 2"),
        ({"lr": 0.0}, "--lr must be above 0"),
        ({"lr": math.nan}, "--lr must be above 0"),
        ({"kinds": ("ufo",)}, "unknown --kind 'ufo'"),
        ({"share": (0.4, 0.2)}, "--share must be a range"),
        ({"share": (0.1, 0.2), "scale": (1, 2)}, "give one of them"),
        ({"device": "tpu"}, "unknown --device"),
    ],
)
def test_settings_speak_in_flags(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainSettings(**changes)


def test_paper_is_the_default() -> None:
    settings = TrainSettings()
    assert (settings.first_lr, settings.momentum, settings.weight_decay) == (0.1, 0.9, 5e-4)
    assert (settings.batch, settings.epochs, settings.loss, settings.occluded_part) == (8, 40, "cosface", 2 / 3)
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_devices() -> None:
    assert choose_precision("fp32", torch.device("cpu")) == "fp32"
    assert choose_precision("auto", torch.device("cpu")) in ("fp32", "bf16")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(DeviceError, match=r"--device cuda.*--device cpu"):
            choose_device("cuda")


def test_bad_starts_write_nothing(people: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="checkpoint not found"):
        train(TINY, people, out, tmp_path / "none.safetensors", quiet=True)
    with pytest.raises(InputError, match="--arch or --from"):
        train(TINY, people, out, quiet=True)
    broken = tmp_path / "nan.safetensors"
    model = FaceNet(SPEC)
    with torch.no_grad():
        model.stem[0].weight.fill_(math.nan)
    save_checkpoint(broken, model, load_meta())
    with pytest.raises(ArtefactError, match="not finite"):
        train(TINY, people, out, broken, quiet=True)
    assert not out.exists()


def load_meta() -> Any:
    from edgeface.models import CheckpointMeta

    return CheckpointMeta()


def test_two_processes_agree(people: Path, tmp_path: Path) -> None:
    """torchrun with gloo on the CPU: both end with the same weights, one of them writes."""
    script = tmp_path / "child.py"
    script.write_text(
        CHILD.replace(
            "print(result.digest)",
            """
import os
Path(sys.argv[3] + os.environ["RANK"]).write_text(result.digest)
""",
        )
    )
    out = tmp_path / "pair"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script))
    command = child(replace(TINY, epochs=2, batch=4), people, out, *launcher)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = ((tmp_path / f"pair{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert lines(out, "start")[0]["processes"] == 2
    assert len(lines(out, "epoch")) == 2 and len(lines(out, "step")) == 6
    assert load_checkpoint(out / "model.safetensors").meta.faces_seen == 48
