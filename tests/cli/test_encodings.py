"""Names that are no text, and terminals that are not UTF-8: shown escaped, valid as JSON, and never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.gallery import Gallery

MODEL = "a" * 64
LATIN = "Zoë 王"


def run(encoding: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    """`edgeface` as a process of its own, whose stdout has that encoding and refuses what it lacks."""
    command = [sys.executable, "-m", "edgeface", *map(os.fsencode, map(str, arguments))]
    return subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=False)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    path = tmp_path / "g.db"
    with Gallery(path, MODEL, 4, create=True) as people:
        people.enroll(LATIN, np.eye(4)[0])
    return path


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict"])
def test_a_terminal_that_lacks_letters_shows_them_escaped(gallery: Path, encoding: str) -> None:
    done = run(encoding, "gallery", "list", "--gallery", gallery)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode(encoding.split(":")[0])
    assert "\\u738b" in shown and "\n| " in shown and "\\u250f" not in shown
    data = run(encoding, "gallery", "list", "--gallery", gallery, "--json")
    assert json.loads(data.stdout.decode("latin-1")) == [{"name": LATIN, "templates": 1}]


def test_a_picture_whose_name_is_no_text(chain: Any, tmp_path: Path) -> None:
    photo, gallery = tmp_path / os.fsdecode(b"bad\xff.png"), tmp_path / "g.db"
    shutil.copy(chain.photo, photo)
    done = run("utf-8:strict", "enroll", chain.bundle, "Ada", photo, "--gallery", gallery, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"] == [str(photo)]
    with Gallery(gallery) as people:
        assert [kept.source for kept in people.kept_crops()] == [f"{tmp_path}/bad\\udcff.png"]
    look = ("identify", chain.bundle, photo, "--gallery", gallery)
    assert json.loads(run("utf-8:strict", *look, "--json").stdout)[0]["faces"][0]["match"] == "Ada"
    assert b"bad\\udcff.png" in run("utf-8:strict", *look).stdout
    nobody = run("utf-8:strict", "gallery", "delete", os.fsdecode(b"\xff"), "--gallery", gallery)
    assert nobody.returncode == 2 and nobody.stderr.startswith(b"edgeface: nobody named")


def test_crops_are_not_kept_where_the_gallery_could_not_say(chain: Any, tmp_path: Path) -> None:
    gallery, crops = tmp_path / "g.db", tmp_path / os.fsdecode(b"crops\xff")
    done = run("utf-8", "enroll", chain.bundle, "Ada", chain.photo, "--gallery", gallery, "--keep-crops", crops)
    assert done.returncode == 2 and b"its path is not UTF-8" in done.stderr and done.stderr.count(b"\n") == 1
    assert not gallery.exists() and not crops.exists()
