"""`edgeface doctor` through the entry point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeface_runtime.doctor import host


def test_this_machine(cli: Callable[..., Any]) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
    done = cli("doctor", "--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    found = {entry["part"]: entry for entry in done.data["findings"]}
    assert found["onnxruntime, cpu"]["state"] == "ok"
    assert set(found["onnxruntime, cpu"]) == {"part", "state", "detail", "mend", "facts", "group"}


def test_nothing_to_run_with_is_code_3(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.Host, "python", lambda self, script, *a, timeout_s=0: host.Answer(None, "gone", "gone"))
    done = cli("doctor")
    assert done.code == 3
    assert done.out.splitlines()[-1].startswith("nothing here can run a bundle: pip ")


def test_no_such_bundle(cli: Callable[..., Any], tmp_path: Path) -> None:
    done = cli("doctor", tmp_path / "none")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"edgeface: bundle not found: {tmp_path / 'none'}\n"
