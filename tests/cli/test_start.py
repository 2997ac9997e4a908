"""What a device starts often starts quickly, and is the same command as among all the others."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer.main

from edgeface.cli import main, start


def parameters(command: Any) -> list[tuple[object, ...]]:
    return [(p.name, p.opts, p.required, p.default, getattr(p, "help", None)) for p in command.params]


@pytest.mark.parametrize("word", sorted(start.DEVICE))
def test_a_devices_command_alone_is_the_same_command(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = typer.main.get_command(main.app)
    monkeypatch.setattr(sys, "argv", ["edgeface", word, "--help"])
    alone = typer.main.get_command(start._app())
    assert alone.commands.keys() < whole.commands.keys()
    assert parameters(alone.commands[word]) == parameters(whole.commands[word])
    assert parameters(alone) == parameters(whole) and alone.help == whole.help


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"], ["identfy"], ["gallery", "list"]])
def test_everything_else_is_asked_of_the_whole(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["edgeface", *words])
    assert start._app() is main.app


def test_a_device_loads_none_of_what_it_does_not_need() -> None:
    """`identify` is refused for its picture's sake: by then all that it needs of Python is there."""
    code = (
        "import sys\nsys.argv = ['edgeface', 'identify', 'none.bundle', 'none.jpg', '--gallery', 'none.db']\n"
        "from edgeface.cli.start import run\n"
        "try: run()\nexcept SystemExit as exc: print(exc.code)\n"
        "import edgeface_runtime.gallery, edgeface_runtime.backends.onnxruntime\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, loaded = done.stdout.split("\n", 1)
    assert status == "2" and done.stderr == "edgeface: bundle not found: none.bundle\n"
    assert "edgeface_runtime.recognizer" in loaded.split()
    costly = {"rich", "tarfile", "zipfile", "importlib.metadata", "tempfile", "numpy.ma", "pymilvus"}
    parts = {"edgeface.cli.train", "edgeface_runtime.dictionary_model", "edgeface_runtime.engine_open"}
    assert set(loaded.split()) & {*costly, *parts} == set()
