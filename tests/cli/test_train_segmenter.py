"""edgeface train --stage segmenter, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeface.data.synthetic import write_synthetic
from edgeface.models.segmenter import read_segmenter


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_synthetic(folder, 3, 2, 0)
    return folder


def test_a_run_from_the_command_line(cli: Callable[..., Any], faces: Path, tmp_path: Path) -> None:
    command = ["train", "--stage", "segmenter", "--data", faces, "--out", tmp_path / "run", "--epochs", 1]
    command += ["--width", 0.5, "--batch", 2, "--kind", "mask,block", "--device", "cpu", "--threads", 1]
    done = cli(*command, "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.data["done"] and done.data["held_out"]["pictures"] == 2
    spec, meta = read_segmenter(tmp_path / "run" / "segmenter.safetensors")
    assert spec.arch == "unet-light" and meta.occluders == ("mask", "block")
    again = cli(*command)
    assert again.code == 2 and "holds a run already" in again.err and again.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--arch", "iresnet50"], "unet-light"),
        (["--kind", "hat"], "--kind"),
        (["--input-size", "100x96"], "multiples of 16"),
        (["--mask", "decoder"], "--mask"),
        (["--from", "nothing.safetensors"], "not found"),
    ],
)
def test_bad_flags_are_one_line(
    cli: Callable[..., Any], faces: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    done = cli("train", "--stage", "segmenter", "--data", faces, "--out", tmp_path / "run", *flags)
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
