"""What is computed for one batch: pixels to input, network, margin head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeface.models import FaceNet
from edgeface.training.margin import MarginSoftmax

__all__ = ["TrainStep", "to_input"]


def to_input(pixels: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 BGR -> (N, 3, H, W) float32 RGB in [-1, 1], channels last in memory."""
    return pixels.flip(3).permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)


class TrainStep(nn.Module):
    """Network and margin head as one module, so that one wrapper averages the gradients of both."""

    def __init__(self, model: FaceNet, margin: MarginSoftmax, precision: str) -> None:
        super().__init__()
        self.model, self.margin = model, margin
        self.precision = precision
        # Only with bf16, where it pays most: in fp32 torch 2.13's CPU backward crashes in it at 8 channels.
        self.format = torch.channels_last if precision == "bf16" else torch.contiguous_format
        self.to(memory_format=self.format)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the share of faces whose own class is the nearest (without margin); both scalars."""
        inputs = to_input(pixels).contiguous(memory_format=self.format)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            embedding = self.model(inputs)
        loss, cosine = self.margin(embedding, labels)
        return loss, (cosine.detach().argmax(1) == labels).float().mean()
