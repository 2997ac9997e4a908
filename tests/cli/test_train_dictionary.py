"""edgeface train --stage dictionary: flags reach the run, results are printed, bad input is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeface.cli.main import app
from edgeface.data import write_synthetic
from edgeface.models import CheckpointMeta, FaceNet, build_spec, save_checkpoint
from edgeface_runtime.dictionary import load_dictionary
from edgeface_runtime.errors import InputError


def test_the_command(tmp_path: Path) -> None:
    faces, network, out = tmp_path / "faces", tmp_path / "net.safetensors", tmp_path / "run"
    write_synthetic(faces, 3, 2)
    save_checkpoint(network, FaceNet(build_spec("iresnet18", 0.125)), CheckpointMeta())
    words = f"train --stage dictionary --mask lm1 --data {faces} --from {network} --out {out} --epochs 1 --batch 2"
    done = CliRunner().invoke(app, [*words.split(), "--threads", "1", "--seed", "3", "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["done"] and told["kind"] == "lm1" and told["tau"] == 0.2
    assert [region["name"] for region in told["regions"]] == ["left_eye", "right_eye", "nose", "mouth"]
    assert told["pairs"]["nose"] == 6
    found = load_dictionary(Path(told["dictionary"]))
    settings = found.extra["settings"]
    assert (settings["epochs"], settings["batch"], settings["seed"]) == (1, 2, 3)


def test_bad_input(tmp_path: Path) -> None:
    runner = CliRunner()
    start = ["train", "--stage", "dictionary", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    for extra, words in (
        ([], "give --from CKPT"),
        (["--from", "x.safetensors", "--mask", "lm7"], "unknown --mask 'lm7'"),
        (["--from", "x.safetensors", "--mask", "lm1", "--grid", "4"], "--grid is for --mask grid"),
        (["--from", "x.safetensors", "--grid", "4"], "x.safetensors"),
        (["--from", str(tmp_path / "x.safetensors")], "not found"),
    ):
        failed = runner.invoke(app, [*start, *extra])
        assert isinstance(failed.exception, InputError), failed.output
        assert words in str(failed.exception)
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeface.cli.train_dictionary import run_dictionary

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="without torchrun"):
        run_dictionary(data=tmp_path, out=tmp_path / "run", start=tmp_path / "x")
