"""The verbs and flags people's scripts rely on: names may be added, never changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from edgeface.cli.main import app

HEAVY = ("torch", "onnxruntime", "cv2", "onnx", "matplotlib", "skimage", "tensorrt", "tensorrt_rtx", "safetensors")

CONTRACT: dict[str, tuple[str, str]] = {
    "data align": ("SRC DST", ""),
    "data occlude": ("SRC DST", "--kind --seed"),
    "train": (
        "",
        "--data --out --stage --arch --mask --from --epochs --batch --lr --width --device --resume",
    ),
    "profile": (
        "[CKPT|BLOCKS]",
        "--arch --mask --width --out --export --backend --device --threads --batch --precision --rounds --clock",
    ),
    "prune": (
        "CKPT",
        "--ratio --target-latency --device-profile --keep-blocks --out --method --round-to --data --faces "
        "--allocation --uniform --steps --reconstruct",
    ),
    "evaluate": ("CKPT|BUNDLE", "--images --pairs --protocol --folds --occlusion --share --seed"),
    "export": ("CKPT", "--out --precision"),
    "build": (
        "BUNDLE",
        "--backend --precision --min-batch --opt-batch --max-batch --workspace --timing-cache --version-compatible "
        "--hardware-compatibility --builder-level --dry-run",
    ),
    "inspect": ("FILE|ARCH", ""),
    "compare": (
        "A [B]",
        "--precision --backend --device --threads --batch --faces --count --rounds --gate --out"
        " --no-build --require-signature",
    ),
    "doctor": ("[BUNDLE]", ""),
    "bundle keygen": ("", "--out"),
    "bundle sign": ("BUNDLE|ENGINE", "--key"),
    "bundle verify": ("BUNDLE|ENGINE", "--key"),
    "calibrate threshold": (
        "BUNDLE",
        "--data --fmr --fpir --gallery-size --draws --conditions --occlusion --plot --no-build --require-signature",
    ),
    "enroll": (
        "BUNDLE NAME IMAGE...",
        "--gallery --cache --encrypt --key-file --key-env --passphrase --passphrase-file --keep-crops "
        "--accept-poor --allow-duplicate --no-build --require-signature",
    ),
    "identify": (
        "BUNDLE IMAGE...",
        "--gallery --cache --key-file --key-env --passphrase --passphrase-file --top --no-build --require-signature",
    ),
    "verify": ("BUNDLE A B", "--no-build --require-signature"),
    "stream": (
        "BUNDLE SOURCE",
        "--gallery --cache --threshold --detect-every --refresh --min-face --roi --realtime --max-frames --give-up "
        "--save --force --show --serve --no-build --require-signature",
    ),
    "gallery list": ("", "--gallery --cache --key-file --key-env --passphrase --passphrase-file"),
    "gallery delete": (
        "NAME",
        "--gallery --cache --rekey --key-file --key-env --passphrase --passphrase-file --new-key-file",
    ),
    "gallery keygen": ("FILE", ""),
    "gallery rekey": (
        "",
        "--gallery --encrypt --decrypt --key-file --key-env --passphrase --passphrase-file "
        "--new-key-file --new-key-env --new-passphrase --new-passphrase-file",
    ),
    "gallery check": ("", "--gallery"),
    "gallery repair": ("", "--gallery --out --in-place"),
    "gallery backup": ("FILE", "--gallery"),
    "gallery restore": ("FILE", "--gallery --force"),
    "gallery export": ("", "--gallery --out"),
    "gallery import": ("FILE", "--gallery"),
    "gallery migrate": ("BUNDLE", "--gallery --out --crops --no-build --require-signature"),
    "bundle import": (
        "MODEL",
        "--out --input --range --mean --std --color --layout --output --template --crop --name --licence --data "
        "--precision --faces --force",
    ),
    "bundle deepstream": ("BUNDLE", "--out --precision --primary-id --batch"),
    "benchmark": ("[BUNDLE]...", "--ratios --backend --device --threads --batch --out"),
    "demo": ("", "--faces"),
}
DEFAULTS: dict[str, dict[str, object]] = {
    "train": {"--stage": "clean", "--epochs": 40, "--batch": 8, "--device": "auto"},
    "prune": {"--method": "l1", "--round-to": 8, "--steps": 1},
    "evaluate": {"--protocol": "verify", "--occlusion": "none"},
    "build": {"--backend": "tensorrt"},
    "identify": {"--top": 5},
    "benchmark": {
        "--ratios": "0,.1,.2,.3,.4,.5",
        "--backend": "onnxruntime",
        "--device": "cpu",
        "--threads": 1,
        "--batch": "1,8,32",
    },
}


def commands() -> dict[str, Any]:
    """Every command by its words."""

    def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, (*words, name))
            else:
                yield " ".join((*words, name)), command

    return dict(walk(typer.main.get_command(app), ()))


COMMANDS = commands()


def options(command: Any) -> dict[str, Any]:
    return {flag: parameter for parameter in command.params for flag in parameter.opts if flag.startswith("--")}


def positionals(command: Any) -> str:
    return " ".join(str(p.metavar) for p in command.params if p.param_type_name == "argument")


@pytest.mark.parametrize("name", CONTRACT)
def test_names_are_as_promised(name: str) -> None:
    arguments, flags = CONTRACT[name]
    assert positionals(COMMANDS[name]) == arguments
    assert set(flags.split()) <= set(options(COMMANDS[name]))


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_as_promised(name: str) -> None:
    found = options(COMMANDS[name])
    assert {flag: found[flag].default for flag in DEFAULTS[name]} == DEFAULTS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_quiet(name: str) -> None:
    found = options(COMMANDS[name])
    assert {"--json", "--quiet"} <= set(found)
    assert found["--json"].is_flag and not found["--json"].default
    assert COMMANDS[name].help, "a command says what it does"


def test_help_of_every_command_is_light() -> None:
    script = """
import contextlib, io, json, sys
from edgeface.cli.main import run
found = {}
for words in json.loads(sys.argv[1]):
    sys.argv = ["edgeface", *words.split(), "--help"]
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            run()
        except SystemExit as stop:
            code = stop.code or 0
    found[words] = [code, "Usage: edgeface " + words in text.getvalue()]
print(json.dumps({"found": found, "loaded": sorted(sys.modules)}))
"""
    asked = ["", "data", "gallery", "calibrate", "bundle", *COMMANDS]
    done = subprocess.run([sys.executable, "-c", script, json.dumps(asked)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["found"] == {words: [0, True] for words in asked}
    assert not set(HEAVY) & set(result["loaded"])
    assert "numpy" not in result["loaded"]


def test_python_m_edgeface_and_version() -> None:
    import edgeface

    done = subprocess.run([sys.executable, "-m", "edgeface", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, edgeface.__version__, "")


@pytest.mark.parametrize(
    "arguments",
    ["--nope", "nope", "train", "train --nope", "prune x --ratio a-half --out y", "gallery", "verify a b"],
)
def test_usage_errors_are_code_2(arguments: str, cli: Any) -> None:
    done = cli(*arguments.split())
    assert done.code == 2
    assert "Traceback" not in done.err
