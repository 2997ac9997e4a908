"""A folder that keeps nothing is told before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeface.data.cache_folder import check_cache
from edgeface_runtime.errors import InputError


def test_a_folder_that_takes_nothing(tmp_path: Path) -> None:
    check_cache(tmp_path / "not" / "yet")
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for bad in ("file", "file/below", "dangling"):
        with pytest.raises(InputError, match="is no folder: name another"):
            check_cache(tmp_path / bad)
    if Path("/proc").is_dir():  # where even root writes nothing
        with pytest.raises(InputError, match="cannot write /proc"):
            check_cache(Path("/proc"))
