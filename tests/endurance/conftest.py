"""Sizes of the endurance tests: short by default, long under `make soak`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultkit.record import compiled


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EDGEFACE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def photos() -> str:
    """The folder of research photographs, or `-` where it is missing: then scikit-image's is taken."""
    named = os.environ.get("EDGEFACE_DATA")
    data = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    if (data / "photos").is_dir():
        return str(data / "photos")
    pytest.importorskip("skimage", reason="needs a photograph of a face: pip install 'edgeface[demo]'")
    return "-"


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that records what a process writes."""
    return compiled(tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def quick_disk(tmp_path: Path) -> Path:
    """A folder in memory where there is one: for what is written often and needs no real disk."""
    import shutil
    import tempfile

    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="edgeface-", dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the processes that tell stories (faultkit/gallery_story.py): few templates make a large gallery."""
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 8)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 12)
    monkeypatch.setattr("edgeface_runtime.gallery_search.BEHIND", 6)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, which can be made read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=False).returncode
    ):
        pytest.skip("needs to mount a file system: run as root")
    yield place
    subprocess.run(["umount", place], check=True)
