"""`edgeface convert`: one line for what is not the network, and the licence said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_real_one(cli: Callable[..., Any], data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "teacher" / "mobilefacenet_112x96.safetensors"
    if not source.is_file():
        pytest.skip("needs the teacher among the research data sets")
    out = tmp_path / "net.safetensors"
    done = cli("convert", source, "--out", out, "--json")
    assert done.code == 0 and done.data["parameters"] == 999_552 and "must not be shipped" in done.err
    again = cli("convert", source, "--out", out)
    assert again.code == 2 and "--force" in again.err
    assert "no stated licence" in cli("inspect", out).out


def test_what_is_no_such_network_is_one_line(cli: Callable[..., Any], tmp_path: Path) -> None:
    source = tmp_path / "net.safetensors"
    for content, words in ((None, "weights not found"), (b"x" * 64, "not a readable safetensors file")):
        if content:
            source.write_bytes(content)
        done = cli("convert", source, "--out", tmp_path / "out.safetensors")
        assert done.code == 2 and words in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()
