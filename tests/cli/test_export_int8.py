"""edgeface export --precision int8, then evaluating with it: the CPU's own graph, and what stays FP32 is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def test_int8_is_exported_and_evaluated(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    out = tmp_path / "eight.bundle"
    flags = ("--precision", "int8", "--faces", chain.faces, "--count", 4, "--calibration", 4, "--method", "minmax")
    done = cli("export", chain.dense, "--out", out, *flags)
    assert done.code == 0, done.err
    assert "int8-cpu:" in done.out and "layers stay FP32" in done.out
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest["models"]) == {"fp32", "int8", "int8-cpu"}
    assert manifest["export"]["int8"]["faces"] == 4
    found = cli("evaluate", out, "--images", chain.faces, "--protocol", "identify", "--precision", "int8", "--json")
    assert found.code == 0, found.err
    assert 0 <= found.data["rank1"] <= 1
