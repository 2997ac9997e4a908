"""Writing files: what a full disk, a killed run and a second writer leave, and how each is said."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import PART_SUFFIX, atomic_path, part_folder, write_bytes, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_write_that_fails_names_the_target(
    tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    target = tmp_path / "out" / "x.bin"
    with pytest.raises(InputError, match=rf"^cannot write {target}: File too large$"), small_files(1000):
        write_bytes(target, bytes(2000))
    assert names(target.parent) == []


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_bytes(tmp_path / "x", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=rf"^cannot write {tmp_path}/x: no space left on device$"):
        write_bytes(tmp_path / "x", b"new")
    assert names(tmp_path) == ["x"] and (tmp_path / "x").read_bytes() == b"old"


def test_other_files_errors_stay_theirs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), atomic_path(tmp_path / "x"):
        (tmp_path / "missing").read_bytes()
    assert names(tmp_path) == []


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "x", tmp_path / "file" / "deep" / "er" / "x"):
        with pytest.raises(InputError, match=rf"^cannot write {target}: {tmp_path}/file is a file, not a folder$"):
            write_bytes(target, b"")
        with pytest.raises(InputError, match=r"file is a file, not a folder$"), part_folder(target):
            pass


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeface_runtime.files import atomic_path, part_folder
with atomic_path(Path(sys.argv[1])) as file, part_folder(Path(sys.argv[2])) as folder:
    file.write_bytes(b"half of it, and long")
    (folder / "half").mkdir()
    (folder / "half" / "x").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    file, folder = tmp_path / "x.jpg", tmp_path / "bundle"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(file), str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == [f".bundle{PART_SUFFIX}", f".x.jpg{PART_SUFFIX}"]
    write_bytes(file, b"whole")
    with part_folder(folder) as work:
        assert names(work) == []
    assert names(tmp_path) == ["x.jpg"] and file.read_bytes() == b"whole"


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with atomic_path(target) as one, part_folder(target) as two:
        one.write_bytes(b"one")
        (two / "kept").touch()
        with atomic_path(target) as other, part_folder(target) as folder:
            assert other != one and folder != two
            other.write_bytes(b"other")
        assert target.read_bytes() == b"other" and one.read_bytes() == b"one" and names(two) == ["kept"]
    assert target.read_bytes() == b"one" and names(tmp_path) == ["x"]


def test_a_link_under_the_hidden_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / f".x{PART_SUFFIX}").symlink_to(tmp_path / "precious")
    write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious" and not (tmp_path / "x").is_symlink()


def test_json_without_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")}, allow_nan=False)
    assert names(tmp_path) == []
