"""Where and in which precision training computes."""

from __future__ import annotations

import ctypes

import torch

from edgeface_runtime.errors import DeviceError

__all__ = ["choose_device", "choose_precision", "prepare_cpu"]


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """auto: CUDA if there is one, else the CPU.

    Raises:
        DeviceError: CUDA was asked for and there is none, or fewer GPUs than processes.
    """
    available = torch.cuda.is_available()
    if name == "cpu" or (name == "auto" and not available):
        return torch.device("cpu")
    if not available:
        built = torch.version.cuda is not None
        reason = "torch finds no NVIDIA GPU or driver" if built else "this torch is a CPU build"
        raise DeviceError(f"--device cuda: {reason}: use --device cpu, or install a CUDA build of torch")
    if local_rank >= torch.cuda.device_count():
        raise DeviceError(f"process {local_rank} has no GPU: start at most {torch.cuda.device_count()} a machine")
    return torch.device("cuda", local_rank)


def choose_precision(name: str, device: torch.device) -> str:
    """fp32 or bf16; auto takes bf16 where the hardware multiplies in it."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else "fp32"


def prepare_cpu(threads: int) -> None:
    """Set torch's threads (0: as it decides), and let glibc keep freed memory.

    Every step frees and takes the same large blocks. Given back to the system each time, the pages must be mapped and
    cleared again: a third of the time of a training with small batches.
    """
    if threads:
        torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names of malloc.h: when to give memory back (-1: never), and how many blocks to map one by one."""
