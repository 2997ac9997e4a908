"""edgeface build from the command line: what it shows, what --json holds, and what --dry-run leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeface_export.trt_module import here_to_build
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.engine import read_sidecar, sidecar_path
from edgeface_runtime.engine_place import engine_path
from edgeface_runtime.errors import DeviceError
from edgeface_runtime.files import sha256_file

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install 'edgeface[rtx]'")
RTX = ("--backend", "tensorrt-rtx")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgeface_export import trt_module

    def missing(index: int = 0) -> None:
        raise DeviceError("no NVIDIA driver: libcuda.so.1 was not found: install it")

    monkeypatch.setattr(trt_module, "require_gpu", missing)
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))


def shown(text: str) -> dict[str, str]:
    """The printed rows by their name."""
    rows = (line.split(maxsplit=1) for line in text.splitlines() if not line.startswith(" "))
    return {row[0]: row[1] for row in rows}


def test_what_is_shown(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.engine"
    done = cli("build", chain.bundle, *RTX, "--out", out, "--max-batch", 4, "--workspace", 300, "--builder-level", 2)
    assert done.code == 0, done.err
    rows = shown(done.out)
    assert (rows["engine"], rows["precision"], rows["batch"]) == (str(out), "fp16", "1 to 4, tuned for 1")
    assert (rows["workspace"], rows["builder"]) == ("at most 300 MiB", "level  2")
    assert rows["gpu"] == "none (built without a GPU)" and rows["runs"].startswith(
        "on        any GPU of tensorrt-rtx"
    )
    assert "counted in the parsed network, not read back: no GPU" in done.out
    assert done.err.splitlines() == [
        "building fp16 with tensorrt-rtx, at most 300 MiB of scratch memory: may take minutes",
        f"wrote {out}",
    ]
    assert "not written" not in done.out and read_sidecar(out).profile.max_batch == 4


def test_a_log_hears_from_a_long_build() -> None:
    from edgeface.cli.build import now_and_then

    said: list[str] = []
    times = iter((100.0, 101.0, 129.0, 131.0, 150.0, 163.0))
    tell = now_and_then(said.append, lambda: next(times))
    for done in range(1, 6):
        tell("Tactics", done, 9)
    assert said == ["still building after 31 s: Tactics, 3 of 9", "still building after 63 s: Tactics, 5 of 9"]


def test_json_is_the_sidecar_and_more(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.engine"
    done = cli("build", chain.bundle, *RTX, "--out", out, "--min-batch", 2, "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    sidecar = json.loads(sidecar_path(out).read_text())
    del sidecar["sidecar_sha256"]
    assert done.data == {**sidecar, "engine": str(out), "dictionary_unused": None}
    assert sidecar["profile"] == {"min_batch": 2, "opt_batch": 2, "max_batch": 8}
    assert sidecar["engine_sha256"] == sha256_file(out)
    # Half of what was free, which changes by the second: between nothing and all of this machine.
    total = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    assert 0 < sidecar["workspace_mib"] <= total / 2


def test_a_dry_run_writes_nothing(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    done = cli("build", chain.bundle, *RTX, "--dry-run", "--max-batch", 2)
    assert (done.code, done.err) == (0, "")
    place = engine_path(chain.bundle, open_bundle(chain.bundle).model_sha256("fp16"), here_to_build("tensorrt-rtx"))
    rows = shown(done.out)
    assert rows["engine"] == f"{place} (not written: --dry-run)" and rows["there"] == "now      nothing"
    assert rows["batch"] == "1 to 2, tuned for 1" and rows["built"].startswith("would be, by tensorrt-rtx ")
    assert not place.parent.exists()
    data = cli("build", chain.bundle, *RTX, "--dry-run", "--json").data
    assert (data["engine"], data["dry_run"], data["there"]) == (str(place), True, "nothing")
    assert data["layers"]["fp16"] > 40 and "engine_sha256" not in data and "build_s" not in data
    assert not place.parent.exists()


def test_a_dry_run_says_what_is_there(cli: Callable[..., Any], chain: Any) -> None:
    assert cli("build", chain.bundle, *RTX, "--max-batch", 3, "--quiet").code == 0
    place = engine_path(chain.bundle, open_bundle(chain.bundle).model_sha256("fp16"), here_to_build("tensorrt-rtx"))
    before = place.read_bytes()
    there = cli("build", chain.bundle, *RTX, "--dry-run", "--json").data["there"]
    assert there.startswith("an engine of tensorrt-rtx ") and there.endswith("fp16, batch 1 to 3, for any GPU")
    place.write_bytes(b"changed")
    assert "fp16, batch 1 to 3" in cli("build", chain.bundle, *RTX, "--dry-run", "--json").data["there"]
    sidecar_path(place).unlink()
    there = cli("build", chain.bundle, *RTX, "--dry-run", "--json").data["there"]
    assert there == "a file that is no engine of edgeface" and before != b"changed"


def test_a_dry_run_refuses_what_a_build_would(cli: Callable[..., Any], chain: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.engine"
    assert cli("build", chain.bundle, *RTX, "--out", out, "--quiet").code == 0
    again = cli("build", chain.bundle, *RTX, "--out", out, "--dry-run")
    assert again.code == 2 and "replace it with --force" in again.err
    assert cli("build", chain.bundle, *RTX, "--out", out, "--dry-run", "--force").code == 0


def test_tensorrt_cannot_parse_without_its_gpu(
    cli: Callable[..., Any], chain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    import tensorrt_rtx

    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_rtx)
    done = cli("build", chain.bundle, "--dry-run")
    assert done.code == 3 and done.err.count("\n") == 1
    assert "tensorrt parses and builds on the GPU the engine is for" in done.err
    assert "use --backend tensorrt-rtx" in done.err
