"""Distillation runs: they learn, resume bit for bit, and refuse what does not belong together."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from edgeface.cli.main import app
from edgeface.distillation import DistillSettings, distill
from edgeface.distillation import run as run_module
from edgeface.models import build_spec, load_checkpoint
from edgeface.models.digest import weights_digest
from edgeface.training import TrainSettings, train
from edgeface_runtime.errors import ArtefactError, GateError, InputError

SPEC = build_spec("iresnet18", 0.125, embedding=32)
SETTINGS = DistillSettings(faces=144, batch=12, covered_part=0.5, covers=6, held_out=0.1, precision="fp32", threads=1)


def test_it_learns_what_the_teacher_says(people: Path, teacher: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, faces=480, covered_part=0.0, lr=1e-2, mixed_part=0.0)
    result = distill(settings, [people], teacher, tmp_path / "run", SPEC, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line["event"] == "round"]
    assert rounds[-1]["clean"] < 0.5 * rounds[0]["clean"]
    assert result.done and result.faces_seen == 480 and result.away < 0.6
    meta = load_checkpoint(result.checkpoint).meta
    assert (meta.stage, meta.loss, meta.faces_seen) == ("clean", "distilled", 480)
    assert "distilled from teacher.safetensors: 480 faces" in meta.history[-1]


def test_training_with_labels_starts_from_it(people: Path, teacher: Path, tmp_path: Path) -> None:
    """The state beside a distilled network is not one of training with labels."""
    taught = distill(SETTINGS, [people], teacher, tmp_path / "taught", SPEC, quiet=True)
    settings = TrainSettings(epochs=1, batch=12, threads=1)
    train(settings, people, tmp_path / "labelled", taught.checkpoint, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "labelled" / "log.jsonl").read_text().splitlines()]
    assert next(line for line in lines if line["event"] == "start")["class_weights"] == "mean embeddings"
    (tmp_path / "taught" / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(ArtefactError, match=r"state\.safetensors, beside the checkpoint, .*move it away"):
        train(settings, people, tmp_path / "again", taught.checkpoint, quiet=True)


def test_a_stopped_run_goes_on_bit_for_bit(
    people: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = distill(SETTINGS, [people], teacher, tmp_path / "whole", SPEC, mask="decoder", patterns=5, quiet=True)
    stop = distill(
        SETTINGS, [people], teacher, tmp_path / "cut", SPEC, mask="decoder", patterns=5, minutes=0, quiet=True
    )
    assert not stop.done and stop.faces_seen == 0
    real = run_module._round
    monkeypatch.setattr(run_module, "_round", _interrupted_after(2, real))
    cut = distill(
        SETTINGS, [people], teacher, tmp_path / "cut", SPEC, mask="decoder", patterns=5, resume=True, quiet=True
    )
    assert not cut.done and 0 < cut.faces_seen < 144 and cut.checkpoint.name == "last.safetensors"
    monkeypatch.setattr(run_module, "_round", real)
    end = distill(
        SETTINGS, [people], teacher, tmp_path / "cut", SPEC, mask="decoder", patterns=5, resume=True, quiet=True
    )
    assert end.done and not cut.checkpoint.exists()
    assert weights_digest(load_checkpoint(end.checkpoint).model) == weights_digest(
        load_checkpoint(whole.checkpoint).model
    )
    assert end.away == whole.away


def _interrupted_after(count: int, real):  # type: ignore[no-untyped-def]
    calls = []

    def wrapped(*given):  # type: ignore[no-untyped-def]
        calls.append(1)
        if len(calls) > count:
            raise KeyboardInterrupt
        return real(*given)

    return wrapped


def test_another_run_is_not_resumed(people: Path, teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    distill(SETTINGS, [people], teacher, out, SPEC, minutes=0, quiet=True)
    with pytest.raises(InputError, match="holds a run already"):
        distill(SETTINGS, [people], teacher, out, SPEC, quiet=True)
    with pytest.raises(InputError, match=r"--lr 0\.003, now 0\.1"):
        distill(replace(SETTINGS, lr=0.1), [people], teacher, out, SPEC, resume=True, quiet=True)
    with pytest.raises(InputError, match="start iresnet18, mask as it is"):
        distill(SETTINGS, [people], teacher, out, SPEC, mask="spatial", resume=True, quiet=True)
    distill(SETTINGS, [people], teacher, out, SPEC, resume=True, quiet=True)
    state = out / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-9])
    with pytest.raises(ArtefactError, match="damaged"):
        distill(SETTINGS, [people], teacher, out, SPEC, resume=True, quiet=True)


def test_a_loss_that_is_no_number_ends_it(people: Path, teacher: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS)
    object.__setattr__(settings, "lr", float("inf"))  # which settings refuse
    with pytest.raises(GateError, match="not a number"):
        distill(settings, [people], teacher, tmp_path / "run", SPEC, quiet=True)
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_a_teacher_too_long_is_refused(people: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a teacher of 16 numbers does not fit into embeddings of 8"):
        distill(
            SETTINGS, [people], teacher, tmp_path / "run", build_spec("iresnet18", 0.125, embedding=8), quiet=True
        )


def test_the_command(people: Path, teacher: Path, tmp_path: Path) -> None:
    given = ["distill", "--teacher", str(teacher), "--data", str(people), "--out", str(tmp_path / "run")]
    new = [
        "--faces",
        "48",
        "--batch",
        "12",
        "--arch",
        "iresnet18",
        "--width",
        ".125",
        "--threads",
        "1",
        "--json",
        "--quiet",
    ]
    found = CliRunner().invoke(app, [*given, *new])
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    assert data["done"] and data["faces_seen"] == 48 and 0 < data["held_out"] < 2
    assert Path(data["checkpoint"]).is_file()


def test_a_stop_is_told_apart_from_the_end_of_a_slice(
    people: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_round", _interrupted_after(0, run_module._round))
    given = ["distill", "--teacher", str(teacher), "--data", str(people), "--faces", "48", "--batch", "12", "--quiet"]
    given += ["--arch", "iresnet18", "--width", ".125", "--threads", "1", "--out"]
    assert CliRunner().invoke(app, [*given, str(tmp_path / "a"), "--minutes", "60"]).exit_code == 130
    assert CliRunner().invoke(app, [*given, str(tmp_path / "b"), "--minutes", "1e-9"]).exit_code == 0


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--faces", "5"], "--faces is 5: give at least a step's, --batch 64"),
        (["--faces", "100", "--batch", "1"], "--batch must be between 2 and 65536, got 1"),
        (["--faces", "100", "--covered", "2"], "--covered must be between 0.0 and 1.0, got 2.0"),
        (["--faces", "100", "--lr", "nan"], "--lr must be above 0 and at most 10, got nan"),
        (["--faces", "100", "--lr", "0"], "--lr must be above 0"),
        (["--faces", "100", "--seed", "-1"], "--seed must be between 0"),
        (["--faces", "100", "--threads", "-1"], "--threads must be between 0"),
        (["--faces", "100", "--workers", "-1"], "--workers must be between 0"),
        (["--faces", "100", "--minutes", "nan"], "--minutes is nan: give more than 0"),
        (["--faces", "100", "--kind", "brick", "--covered", ".5"], "brick"),
        (["--faces", "100", "--kind", "mask"], "--kind says what covers faces: give their share with --covered"),
        (["--faces", "100", "--patterns", "5"], "--patterns needs covered faces: add --covered"),
        (["--faces", "100", "--patterns", "7", "--covered", ".5"], "--patterns must be 0 or one of 3, 4, 5, got 7"),
        (["--faces", "100", "--from", "x.safetensors", "--arch", "iresnet18"], "are for new networks"),
        (["--faces", "100", "--precision", "fp8"], "unknown --precision"),
    ],
)
def test_bad_input(people: Path, teacher: Path, tmp_path: Path, flags: list[str], line: str) -> None:
    given = ["distill", "--teacher", str(teacher), "--data", str(people), "--out", str(tmp_path / "run"), *flags]
    found = CliRunner().invoke(app, given)
    assert isinstance(found.exception, InputError)
    assert re.search(line, str(found.exception))
    assert not (tmp_path / "run").exists()


def test_torch_random_numbers_are_left_alone(people: Path, teacher: Path, tmp_path: Path) -> None:
    torch.manual_seed(9)
    wanted = torch.rand(3)
    torch.manual_seed(9)
    distill(SETTINGS, [people], teacher, tmp_path / "run", SPEC, minutes=0, quiet=True)
    assert torch.equal(torch.rand(3), wanted)
