"""`edgeface compare` on the chain's bundles."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--rounds", 2, "--batch", 1, "--count", 6)


def test_the_precisions_of_one_bundle(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    done = cli("compare", chain.bundle, *QUICK, "--gate", 0.99, "--out", out, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    fp32, fp16 = done.data["sides"]
    assert (fp32["label"], fp16["label"]) == ("fp32", "fp16")
    assert fp16["size_bytes"] < fp32["size_bytes"]
    assert fp32["ran_on"]["provider"] == "CPUExecutionProvider"
    assert fp32["agreement"] is None and 0.999 < fp16["agreement"]["cosine_min"] <= 1.0001
    assert set(fp16["latency_ms"]["1"]) == {"p50", "p90", "p99", "spread"}
    assert json.loads(out.read_text()) == done.data


def test_two_networks_are_compared_by_scores(cli: Callable[..., Any], chain: Any) -> None:
    done = cli("compare", chain.other, chain.bundle, *QUICK, "--faces", chain.faces)
    assert done.code == 0
    assert "another network" in done.out and "cosine min" not in done.out
    assert "6 faces of faces" in done.out


def test_a_gate_that_is_missed(cli: Callable[..., Any], chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeface.workflows import compare

    real = compare.embed

    def turned(backend: Any, manifest: Any, crops: Any, model: str) -> Any:
        found = real(backend, manifest, crops, model)
        if model == "fp16":
            found.vectors[:] = found.vectors[:, ::-1].copy()
        return found

    monkeypatch.setattr(compare, "embed", turned)
    done = cli("compare", chain.bundle, *QUICK, "--gate", 0.99)
    assert done.code == 1
    assert "the lowest mean cosine to fp32 is" in done.err and "below --gate 0.99" in done.err
    assert "outputs, against fp32" in done.out  # shown all the same


def test_it_runs_without_torch_and_onnx(chain: Any) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'safetensors', 'skimage', 'matplotlib'): sys.modules[name] = None\n"
        "from edgeface.cli.main import run\n"
        f"sys.argv = ['edgeface', 'compare', {str(chain.bundle)!r}, '--rounds', '1', '--count', '2']\n"
        "run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "times as fast" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{other}", "is one thing: name a second bundle"),
        ("{bundle} --gate 2", "--gate is a cosine above 0"),
        ("{bundle} {other} --gate .9", "are different networks: leave it out"),
        ("{bundle} --out {photo}", "exists and is no JSON file"),
        ("{bundle} --faces {photo}", "is not a folder"),
        ("{bundle} --backend ,", "--backend is empty"),
        ("{photo} {bundle}", "photo.png"),
    ],
)
def test_bad_input(cli: Callable[..., Any], chain: Any, arguments: str, words: str) -> None:
    places = {name: getattr(chain, name) for name in ("bundle", "other", "photo")}
    done = cli("compare", *arguments.format(**places).split(), *QUICK)
    assert (done.code, done.out) == (2, "")
    assert words in done.err and done.err.startswith("edgeface: ") and done.err.count("\n") == 1


def test_tensorrt_without_a_driver_is_code_3(cli: Callable[..., Any], chain: Any) -> None:
    done = cli("compare", chain.bundle, "--backend", "onnxruntime,tensorrt", *QUICK, "--quiet")
    assert done.code == 3 and done.err.count("\n") == 1
