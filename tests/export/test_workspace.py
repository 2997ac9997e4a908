"""The default workspace: half of what is free, of the memory the GPU really has."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeface_export import workspace
from edgeface_export.workspace import default_workspace, is_memory
from edgeface_runtime.backends.driver import Gpu, GpuMemory

GPU = Gpu(0, "Orin", "8.7", "12.6")
MIB = 1 << 20


@pytest.mark.parametrize(
    ("gpu", "available", "expected"),
    [
        (GpuMemory(6000 * MIB, 8000 * MIB, shared=False), 1000, 3000),  # a card has memory of its own
        (GpuMemory(6000 * MIB, 8000 * MIB, shared=True), 1000, 500),  # a Jetson has the machine's
        (GpuMemory(600 * MIB, 8000 * MIB, shared=True), 1000, 300),
        (GpuMemory(600 * MIB, 8000 * MIB, shared=True), None, 300),
        (GpuMemory(MIB // 2, 8000 * MIB, shared=False), 1000, 1),
        (None, 1000, 500),
        (None, None, None),
    ],
)
def test_half_of_what_is_free(
    gpu: GpuMemory | None,
    available: int | None,
    expected: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meminfo = tmp_path / "meminfo"
    if available is not None:
        meminfo.write_text(f"MemTotal:       9999999 kB\nMemFree:  77 kB\nMemAvailable: {available * 1024} kB\n")
    monkeypatch.setattr(workspace, "MEMINFO", meminfo)
    monkeypatch.setattr(workspace, "gpu_memory", lambda index: gpu)
    assert default_workspace(None if gpu is None else GPU) == expected


def test_reasons_that_speak_of_memory() -> None:
    for reason in (
        "Error Code 2: OutOfMemory (Requested size was 13620096 bytes.)",
        "no tactics to implement the operation within workspace limit. Consider increase",
        "Cuda Runtime (out of memory)",
        "Error Code 10: insufficient memory",
        "std::bad_alloc",
    ):
        assert is_memory(reason)
    assert not is_memory("input and kernel must be of same type")
