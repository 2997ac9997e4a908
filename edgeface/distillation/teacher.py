"""What is to be learned: the teacher's embedding, turned into the student's space without changing any cosine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeface.models import FaceNet
from edgeface_runtime.errors import InputError

__all__ = ["Teacher", "isometry"]


def isometry(size: int, into: int, seed: int = 0) -> Tensor:
    """(size, into) float32 with orthonormal rows: cosines stay what they were.

    Raises:
        InputError: `into` is smaller than `size`.
    """
    if into < size:
        raise InputError(f"a teacher of {size} numbers does not fit into embeddings of {into}")
    noise = torch.randn(into, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    turn: Tensor = torch.linalg.qr(noise).Q.T.float().contiguous()
    return turn


class Teacher(nn.Module):
    """A fixed network as targets: unit vectors of the student's length.

    A face and its mirror image have one target, the direction between the teacher's two: with one look the student is
    to see what the teacher sees with two.
    """

    def __init__(self, model: FaceNet, into: int, precision: str = "fp32") -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.precision = precision
        self.turn: Tensor
        self.register_buffer("turn", isometry(model.spec.embedding, into))

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 3, H, W) float RGB in [-1, 1] -> (B, into) float32 unit vectors."""
        return self.turned(self.answer(faces))

    @torch.no_grad()
    def answer(self, faces: Tensor) -> Tensor:
        """What the network says of each face and its mirror image, summed, in its own space: (B, size) float32."""
        kind = torch.float16 if faces.device.type == "cuda" else torch.bfloat16
        with torch.autocast(faces.device.type, kind, enabled=self.precision != "fp32"):
            found = self.model(torch.cat([faces, faces.flip(3)]))
        one, other = nn.functional.normalize(found.float()).chunk(2)
        return one + other

    def turned(self, answer: Tensor) -> Tensor:
        """(B, size) answers -> (B, into) float32 unit vectors."""
        return nn.functional.normalize(answer @ self.turn)
