"""Places that cannot be written are refused before the work, not after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeface.cli.claim import check_parent, claim_file, is_json
from edgeface_runtime.errors import InputError

PROC = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, which nobody can write to")


@PROC
@pytest.mark.parametrize("flag", ["--out", "--scores"])
def test_evaluate_looks_before_it_opens_the_model(cli: Callable[..., Any], tmp_path: Path, flag: str) -> None:
    given = ("evaluate", tmp_path / "none.safetensors", "--images", tmp_path, "--pairs", tmp_path / "pairs.txt")
    found = cli(*given, flag, "/proc/new/result")
    assert (found.code, len(found.err.splitlines())) == (2, 1)
    assert "cannot write /proc/new/result" in found.err
    (tmp_path / "text").write_text("text")
    assert f"choose another {flag}" in cli(*given, flag, tmp_path / "text").err
    assert f"{flag} {tmp_path} is a folder" in cli(*given, flag, tmp_path).err


def test_a_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    claim_file(tmp_path / "new" / "x.json", "JSON file", is_json, force=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, not a folder"):
        check_parent(tmp_path / "file" / "x.json")
