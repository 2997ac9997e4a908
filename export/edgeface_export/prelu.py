"""PReLU as a multiplication and a maximum: the same values, and several times as fast in ONNX Runtime on a CPU.

With slope a <= 1, PReLU(x) = max(x, a x). A channel with a > 1 wants the minimum: with d = -1 for such a channel and
1 for any other, PReLU(x) = d max(d x, d a x), which is as exact. `benchmarks/prelu.py` measures both forms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MaxPReLU", "replace_prelus"]


class MaxPReLU(nn.Module):
    """What `prelu` computes on (N, C, H, W), for inference."""

    slope: Tensor
    """(C, 1, 1), times `sign` where there is one."""
    sign: Tensor | None
    """(C, 1, 1) of 1 and -1; None where no slope is above 1."""

    def __init__(self, prelu: nn.PReLU) -> None:
        super().__init__()
        slope = prelu.weight.detach().clone()[:, None, None]
        sign = torch.where(slope > 1, -1.0, 1.0).to(slope.dtype) if bool((slope > 1).any()) else None
        self.register_buffer("sign", sign)
        self.register_buffer("slope", slope if sign is None else slope * sign)

    def forward(self, x: Tensor) -> Tensor:
        if self.sign is None:
            return torch.maximum(x, x * self.slope)
        return torch.maximum(x * self.sign, x * self.slope) * self.sign


def replace_prelus(net: nn.Module) -> None:
    """Put a `MaxPReLU` in the place of every PReLU of `net`."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.PReLU):
                setattr(module, name, MaxPReLU(child))
