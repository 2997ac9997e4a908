"""edgeface export --precision int8, then evaluating with it: the CPU's own graph, and what stays FP32 is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeface_calibration.drift import GATES, Gate
from edgeface_runtime.manifest import read_manifest, write_manifest

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


def test_a_bundle_is_given_int8(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(chain.bundle, tmp_path / "given.bundle"))
    before = json.loads((bundle / "manifest.json").read_text())
    flags = ("--data", chain.faces, "--count", 4, "--calibration", 4, "--method", "minmax")
    done = cli("calibrate", "int8", bundle, "--precision", "int8,int8+fp16", *flags, "--force", "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.data["compared_on"] == f"faces of {chain.faces.name}"
    assert set(done.data["models"]) == {*before["models"], "int8", "int8-cpu", "int8+fp16"}
    assert done.data["files"]["recognizer.onnx"] == before["files"]["recognizer.onnx"]
    shown = cli("inspect", bundle, "--json")
    assert shown.data["parity"]["int8+fp16"]["fp16_storage"]["cosine_min"] > 0.9


def test_force_writes_what_misses_its_gate_and_says_so(
    cli: Callable[..., Any], chain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GATES, "fp16", Gate(1.5, 0.1))
    out = tmp_path / "half.bundle"
    refused = cli("export", chain.dense, "--out", out, "--count", 2)
    assert refused.code == 1 and "below 1.5" in refused.err and "--force" in refused.err and not out.exists()
    done = cli("export", chain.dense, "--out", out, "--count", 2, "--force")
    assert done.code == 0 and "warning: fp16 misses its gate: mean cosine" in done.err and "missed" in done.out
    assert json.loads((out / "manifest.json").read_text())["parity"]["fp16"]["missed"]


def test_replacing_a_bundle_says_what_goes_with_it(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    bundle = tmp_path / "own.bundle"
    again = ("export", chain.dense, "--out", bundle, "--precision", "fp32", "--count", 2, "--force")
    assert "thresholds" not in cli(*again).err
    write_manifest(bundle, replace(read_manifest(bundle), thresholds={"1e-2": 0.25}))
    told = cli(*again).err
    assert "the thresholds of the bundle that was there are gone (0.2500 at 1e-2): calibrate them again" in told
    assert not read_manifest(bundle).thresholds
