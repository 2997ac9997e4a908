"""Memory of a GPU, asked of a driver that is a stand-in."""

from __future__ import annotations

from typing import Any

import pytest

from edgeface_runtime.backends import driver
from edgeface_runtime.backends.driver import GpuMemory, gpu_memory
from edgeface_runtime.errors import DeviceError


class Driver:
    """libcuda as far as its memory is asked for; contexts are counted."""

    def __init__(self, integrated: int = 0, code: int = 0) -> None:
        self.integrated, self.code = integrated, code
        self.retained = self.pushed = 0

    def cuDeviceGet(self, answer: Any, index: int) -> int:
        answer._obj.value = index
        return 0

    def cuDeviceGetAttribute(self, answer: Any, attribute: int, device: int) -> int:
        answer._obj.value = {18: self.integrated}[attribute]
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: int) -> int:
        self.retained += 1
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device: int) -> int:
        self.retained -= 1
        return 0

    def cuCtxPushCurrent_v2(self, context: Any) -> int:
        self.pushed += 1
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:
        self.pushed -= 1
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:
        free._obj.value, total._obj.value = 5 << 30, 8 << 30
        return self.code

    def cuGetErrorName(self, code: int, text: Any) -> int:
        text._obj.value = b"CUDA_ERROR_OUT_OF_MEMORY"
        return 0


@pytest.mark.parametrize("integrated", [0, 1])
def test_free_and_total(integrated: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Driver(integrated)
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: fake)
    assert gpu_memory(0) == GpuMemory(5 << 30, 8 << 30, bool(integrated))
    assert (fake.retained, fake.pushed) == (0, 0)


def test_a_refusal_gives_the_context_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Driver(code=2)
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: fake)
    with pytest.raises(DeviceError, match="cuMemGetInfo says CUDA_ERROR_OUT_OF_MEMORY"):
        gpu_memory(0)
    assert (fake.retained, fake.pushed) == (0, 0)
