"""edgeface train: which flags reach which stage, and what is refused."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the other stages are called with."""
    found: list[dict[str, Any]] = []
    for stage in ("dictionary", "segmenter"):
        module = types.ModuleType(f"edgeface.cli.train_{stage}")
        setattr(module, f"run_{stage}", lambda **values: found.append(values))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def test_a_dictionary_gets_its_flags(cli: Cli, calls: list[dict[str, Any]]) -> None:
    done = cli(
        "train", "--stage", "dictionary", "--mask", "lm2", "--data", "d", "--out", "o", "--from", "c", "--tau", ".2"
    )
    assert done.code == 0, done.err
    (values,) = calls
    assert (values["data"], values["out"], values["start"]) == (Path("d"), Path("o"), Path("c"))
    assert (values["mask"], values["tau"]) == ("lm2", 0.2)
    assert values["epochs"] is values["batch"] is values["lr"] is values["arch"] is None, "left to the stage"
    assert (values["seed"], values["threads"], values["device"], values["resume"]) == (0, 0, "auto", False)
    assert "kinds" not in values and "precision" not in values and "stage" not in values


def test_a_segmenter_gets_its_flags(cli: Cli, calls: list[dict[str, Any]]) -> None:
    flags = (
        "--arch",
        "unet-light",
        "--input-size",
        "128x96",
        "--kind",
        "mask,block",
        "--scale",
        "1,3",
        "--labels",
        "exact",
    )
    done = cli(
        "train", "--stage", "segmenter", "--data", "d", "--out", "o", *flags, "--epochs", 6, "--resume", "--quiet"
    )
    assert done.code == 0, done.err
    (values,) = calls
    assert (values["arch"], values["input_size"], values["kinds"]) == ("unet-light", (128, 96), ("mask", "block"))
    assert (values["scale"], values["label"], values["epochs"]) == ((1.0, 3.0), "exact", 6)
    assert values["resume"] and values["quiet"] and not values["json"] and values["batch"] is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--stage", "dictionary", "--patterns", 5), "--patterns is not for --stage dictionary: leave it out"),
        (("--stage", "segmenter", "--mask", "grid"), "--mask is not for --stage segmenter: leave it out"),
        (("--tau", ".2"), "--tau is for --stage dictionary: leave it out"),
        (("--labels", "exact"), "--labels is for --stage segmenter: leave it out"),
        (("--stage", "dark"), "unknown --stage 'dark': choose one of clean, occluded, dictionary, segmenter"),
        (("--patterns", 3), "--patterns needs covered faces: add --stage occluded"),
        (("--stage", "occluded", "--patterns", 3), "--patterns needs a mask"),
        (("--freeze", "trunk"), "--freeze trunk keeps what is trained"),
        (("--input-size", "128"), "--input-size takes height x width"),
        (("--input-size", "120x96"), "--input-size must be multiples of 16"),
    ],
)
def test_flags_that_would_have_no_effect_are_refused(
    cli: Cli, calls: list[dict[str, Any]], tmp_path: Path, flags: tuple[object, ...], words: str
) -> None:
    from edgeface.data import write_synthetic

    write_synthetic(tmp_path / "people", 2, 2)
    done = cli("train", "--data", tmp_path / "people", "--out", tmp_path / "run", "--arch", "iresnet18", *flags)
    if "--arch" in done.err:
        done = cli("train", "--data", tmp_path / "people", "--out", tmp_path / "run", *flags)
    assert done.code == 2 and words in done.err, done.err
    assert not calls and not (tmp_path / "run").exists()


def test_patterns_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    from edgeface.data import write_synthetic

    write_synthetic(tmp_path / "people", 2, 4)
    common = ("train", "--data", tmp_path / "people", "--threads", 1, "--epochs", 1, "--precision", "fp32", "--json")
    network = ("--arch", "iresnet18", "--width", ".125", "--mask", "spatial")
    first = cli(*common, "--out", tmp_path / "a", *network)
    assert first.code == 0, first.err
    wider = cli(*common, "--out", tmp_path / "a", *network, "--width", ".25", "--resume", "--quiet")
    asked = "--arch iresnet18 --width {} --mask spatial"
    assert wider.code == 2 and f"start {asked.format(0.125)}, now {asked.format(0.25)}: use" in wider.err
    for stage, data in (("segmenter", ()), ("occluded", network)):
        other = cli(*common, "--out", tmp_path / "a", "--stage", stage, *data, "--resume", "--quiet")
        assert other.code == 2 and f"--stage clean, now {stage}" in other.err, other.err
    more = ("--stage", "occluded", "--patterns", 4, "--freeze", "network", "--background", "random")
    second = cli(*common, "--out", tmp_path / "b", "--from", tmp_path / "a" / "model.safetensors", *more)
    assert second.code == 0 and second.data["done"], second.err
    assert '"pattern_accuracy"' in (tmp_path / "b" / "log.jsonl").read_text()
