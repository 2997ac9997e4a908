"""The command line in this process, and one tiny chain of artefacts made through it."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@dataclass(frozen=True)
class Outcome:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """stdout as JSON: fails if anything else stands there."""
        return json.loads(self.out)


def edgeface(*arguments: object) -> Outcome:
    """Run `edgeface` with arguments through its entry point."""
    from edgeface.cli.main import run

    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgeface", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                run()
            except SystemExit as exit_:
                code = exit_.code or 0
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cli() -> Callable[..., Outcome]:
    return edgeface


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test touches the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEFACE_CACHE", str(folder))
        yield folder


@dataclass(frozen=True)
class Chain:
    """Everything the tiny chain left behind; tests must not change it."""

    root: Path
    outcomes: dict[str, Outcome]
    """Step -> what its command, with --json --quiet, did."""

    def __getattr__(self, name: str) -> Path:
        return self.root / PLACES[name]


PLACES = {
    "faces": "faces",
    "dense": "dense/model.safetensors",
    "pruned": "pruned.safetensors",
    "masked": "masked/model.safetensors",
    "bundle": "bundle",
    "other": "other",
    "images": "images",
    "pairs": "images/pairs.txt",
    "photo": "photo.png",
    "gallery": "gallery.db",
}


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Chain:
    """Synthetic faces -> dense -> pruned -> masked -> judged -> bundles -> threshold -> a gallery of one photo."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's photograph: pip install 'edgeface[demo]'")
    chain = Chain(tmp_path_factory.mktemp("chain"), {})

    def step(name: str, *arguments: object) -> None:
        chain.outcomes[name] = edgeface(*arguments, "--json", "--quiet")
        assert chain.outcomes[name].code == 0, (name, chain.outcomes[name])

    step("synthetic", "data", "synthetic", chain.faces, "--people", 8, "--per-person", 4)
    _as_lfw(chain.faces, chain.images)
    tiny = ("--epochs", 1, "--batch", 16, "--threads", 1, "--device", "cpu")
    small = ("--arch", "iresnet18", "--width", 0.125)
    step("train", "train", "--data", chain.faces, "--out", chain.dense.parent, *small, *tiny)
    step("prune", "prune", chain.dense, "--ratio", 0.5, "--out", chain.pruned, "--faces", 4)
    masked = ("--stage", "occluded", "--mask", "decoder", "--from", chain.pruned)
    step("occluded", "train", "--data", chain.faces, "--out", chain.masked.parent, *masked, *tiny)
    judge = ("evaluate", chain.masked, "--images", chain.images, "--device", "cpu", "--record")
    step("verify set", *judge, "--pairs", chain.pairs, "--occlusion", "mask", "--name", "tiny")
    step("identify set", *judge, "--protocol", "identify", "--name", "tiny")
    step("export", "export", chain.masked, "--out", chain.bundle, "--count", 4)
    step("export dense", "export", chain.dense, "--out", chain.other, "--count", 4, "--precision", "fp32")
    step("calibrate", "calibrate", "threshold", chain.bundle, "--data", chain.faces, "--fmr", ".1", "--threads", 1)
    cv2.imwrite(str(chain.photo), np.ascontiguousarray(data.astronaut()[..., ::-1]))
    step("enroll", "enroll", chain.bundle, "Ann", chain.photo, "--gallery", chain.gallery, "--threads", 1)
    return chain


def _as_lfw(faces: Path, images: Path) -> None:
    """The same pictures under LFW's names, and two folds of four genuine and four impostor pairs."""
    people = sorted(entry.name for entry in faces.iterdir())
    for person in people:
        (images / person).mkdir(parents=True)
        for number, picture in enumerate(sorted((faces / person).iterdir()), 1):
            shutil.copy(picture, images / person / f"{person}_{number:04d}.png")
    lines = ["2\t4"]
    for fold in (0, 4):
        lines += [f"{person}\t1\t2" for person in people[fold : fold + 4]]
        lines += [f"{people[fold + at]}\t1\t{people[fold + (at + 1) % 4]}\t3" for at in range(4)]
    (images / "pairs.txt").write_text("\n".join(lines) + "\n")
