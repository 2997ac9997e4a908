"""Where a network runs that was asked for on a GPU, and where there is none: an error, or by permission the CPU.

Settled once, before anything is opened or built. What was asked for and why it is not what runs then stand in every
result, by `Placed.facts`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from edgeface_runtime.backends import backend_kind, parse_device
from edgeface_runtime.backends.driver import require_gpu
from edgeface_runtime.backends.onnxruntime import FIRST, require_provider
from edgeface_runtime.errors import DeviceError

__all__ = ["Placed", "place"]

FALLBACK = "onnxruntime"
"""What runs on the CPU."""


@dataclass(frozen=True)
class Placed:
    """Which backend runs where."""

    backend: str
    """Key in BACKENDS."""
    device: str
    """auto, cpu, cuda or cuda:N."""
    asked: str = ""
    """Backend and device that were asked for, such as `tensorrt on cuda`; empty where these are they."""
    fallback: str | None = None
    """Why it is not what was asked for, in one line; None where it is."""

    def facts(self) -> dict[str, Any]:
        """As part of what really ran: `fallback`, and `asked` where there was one."""
        return {"fallback": self.fallback, **({} if self.fallback is None else {"asked": self.asked})}


def place(backend: str, device: str, allow_cpu: bool = False) -> Placed:
    """What to open: what is asked for, or with `allow_cpu` and no GPU for it, ONNX Runtime on the CPU.

    Without `allow_cpu` nothing is looked for: a backend itself says what is missing when it is opened. A GPU that is
    there and fails, or whose libraries are missing, is an error with and without it.

    Raises:
        InputError: an unknown backend or device.
        DeviceError: the CPU was asked for, of a backend that has none.
    """
    kind = backend_kind(backend)
    index = parse_device(device, kind.device)
    if index is None and kind.device == "cuda":
        raise DeviceError(f"{backend} runs on a GPU, not on the CPU: give --device cuda, or --backend onnxruntime")
    if index is None or not allow_cpu:
        return Placed(backend, device)
    reason = _no_gpu(backend, index)
    if reason is None:
        return Placed(backend, device)
    return Placed(FALLBACK, "cpu", f"{backend} on {'cuda' if device == 'auto' else device}", reason)


def _no_gpu(backend: str, index: int) -> str | None:
    """Why that backend has no GPU of that number; None where it has."""
    try:
        require_gpu(index)
        if backend in FIRST:
            require_provider(importlib.import_module("onnxruntime"), backend)
    except DeviceError as exc:
        return str(exc)
    except ImportError:
        return None  # opening says which package is missing
    return None
