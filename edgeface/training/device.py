"""Where and in which precision training computes."""

from __future__ import annotations

import torch

from edgeface_runtime.errors import DeviceError

__all__ = ["choose_device", "choose_precision"]


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
