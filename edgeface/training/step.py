"""What is computed for one batch: pixels to input, network, margin head, and FROM's occlusion patterns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeface.models import FaceNet
from edgeface.training.margin import MarginSoftmax

__all__ = ["FREEZES", "TrainStep", "frozen_parts", "to_input"]

TRUNK = ("stem", "stages", "top")
FREEZES: dict[str, tuple[str, ...]] = {"none": (), "trunk": TRUNK, "network": (*TRUNK, "head")}
"""`--freeze`: the parts of the network that stay as they are, batch statistics included."""


def to_input(pixels: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 BGR -> (N, 3, H, W) float32 RGB in [-1, 1], channels last in memory."""
    return pixels.flip(3).permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)


def frozen_parts(model: FaceNet, freeze: str) -> list[nn.Module]:
    """The modules that `freeze` (a key of FREEZES) keeps as they are."""
    return [part for name, part in model.named_children() if name in FREEZES[freeze]]


class TrainStep(nn.Module):
    """Network and margin head as one module, so that one wrapper averages the gradients of both.

    Frozen parts need no gradients and stay in evaluation mode whatever mode the rest is in: nothing is kept for a
    backward pass through a frozen trunk, whose input needs no gradient either.
    """

    def __init__(
        self,
        model: FaceNet,
        margin: MarginSoftmax,
        precision: str,
        *,
        freeze: str = "none",
        pattern_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.model, self.margin = model, margin
        self.precision, self.freeze, self.pattern_weight = precision, freeze, pattern_weight
        # Only with bf16, where it pays most: in fp32 torch 2.13's CPU backward crashes in it at 8 channels.
        self.format = torch.channels_last if precision == "bf16" else torch.contiguous_format
        self.to(memory_format=self.format)  # type: ignore[call-overload]
        for part in frozen_parts(model, freeze):
            part.requires_grad_(False)
        self.train()

    @property
    def measures(self) -> tuple[str, ...]:
        """What the second result of `forward` holds."""
        patterns = ("pattern_loss", "pattern_accuracy") if self.model.pattern is not None else ()
        return ("loss", "accuracy", *patterns)

    @property
    def learning(self) -> list[nn.Parameter]:
        """The parameters that are not frozen."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> TrainStep:
        """As ever, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in frozen_parts(self.model, self.freeze):
            part.eval()
        return self

    def forward(self, pixels: Tensor, labels: Tensor, patterns: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loss of one batch.

        Args:
            pixels: (N, H, W, 3) uint8 BGR.
            labels: (N,) int64, people.
            patterns: (N,) int64 occlusion patterns, for a network with a pattern head.

        Returns:
            The loss, a scalar: margin softmax + weight x cross entropy of the patterns. And `measures`, float without
            gradient: the loss, the share of faces whose own class is the nearest (without margin), and with patterns
            their cross entropy and the share that was told rightly.
        """
        inputs = to_input(pixels).contiguous(memory_format=self.format)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            output = self.model.forward_masked(inputs, patterns=patterns is not None)
        loss, cosine = self.margin(output.embedding, labels)
        accuracy = (cosine.detach().argmax(1) == labels).float().mean()
        if patterns is None or output.pattern is None:
            return loss, torch.stack([loss.detach(), accuracy])
        logits = output.pattern.float()
        pattern_loss = nn.functional.cross_entropy(logits, patterns)
        told = (logits.detach().argmax(1) == patterns).float().mean()
        loss = loss + self.pattern_weight * pattern_loss
        return loss, torch.stack([loss.detach(), accuracy, pattern_loss.detach(), told])
