"""A shorter embedding, folded into the head: what many templates need less memory for.

A network that learned from a teacher of 128 numbers uses 128 directions of its 512. Projected onto the directions
that its embeddings of some faces fill, cosines stay nearly the same, and the head, most of a pruned network, shrinks
alike.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from edgeface.models.iresnet import FaceNet
from edgeface_runtime.errors import InputError

__all__ = ["narrow_embedding", "principal_directions"]


def principal_directions(embeddings: Tensor, size: int) -> Tensor:
    """(size, E) float32 with orthonormal rows: the directions that carry most of (N, E) embeddings, each of length 1.

    About the origin, not the mean, because cosines are.

    Raises:
        InputError: fewer embeddings or directions than `size`.
    """
    if not 0 < size <= min(embeddings.shape):
        raise InputError(f"{len(embeddings)} embeddings of {embeddings.shape[1]} numbers have no {size} directions")
    units = nn.functional.normalize(embeddings.double())
    return torch.linalg.svd(units, full_matrices=False).Vh[:size].float()


@torch.no_grad()
def narrow_embedding(model: FaceNet, directions: Tensor) -> FaceNet:
    """A new network, in evaluation mode, whose embedding is `directions` (size, E) times the old one.

    Raises:
        InputError: its head is not linear with a BN after it, or its mask is one of the embedding.
    """
    spec = model.spec
    if spec.head == "pool" or (spec.mask is not None and spec.mask.kind == "vector"):
        raise InputError("only a head that ends with a linear layer and BN, unmasked, can be made narrower")
    narrow = FaceNet(replace(spec, embedding=len(directions)))
    state = model.state_dict()
    last = "head.3" if spec.head == "depthwise" else "head.2"
    norm = "head.4" if spec.head == "depthwise" else "head.3"
    old: nn.BatchNorm1d = model.get_submodule(norm)  # type: ignore[assignment]
    gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + old.eps)
    turn = directions.double()
    offset = (state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain).double()
    bias = state.get(f"{last}.bias")
    if bias is not None:
        offset = offset + (bias * gain).double()
        state[f"{last}.bias"] = torch.zeros(len(directions))
    state[f"{last}.weight"] = (turn @ (gain.double()[:, None] * state[f"{last}.weight"].double())).float()
    state[f"{norm}.weight"] = torch.full((len(directions),), (1 + old.eps) ** 0.5)
    state[f"{norm}.bias"] = (turn @ offset).float()
    state[f"{norm}.running_mean"] = torch.zeros(len(directions))
    state[f"{norm}.running_var"] = torch.ones(len(directions))
    narrow.load_state_dict(state)
    return narrow.eval()
