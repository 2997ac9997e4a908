"""What a layer reads, and the weights nearest to those it has that give what is wanted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["cells_of", "fit", "patches"]


def fit(reads: Tensor, wanted: Tensor, weight: Tensor, ridge: float, centred: bool) -> tuple[Tensor, Tensor]:
    """Ridge regression around `weight`: the least |reads W' + b - wanted|^2 + pull |W' - weight|^2.

    Args:
        reads: (n, inputs) float.
        wanted: (n, outputs) float.
        weight: (outputs, inputs) float, what the pull is towards.
        ridge: `pull` in parts of the inputs' mean square, times n.
        centred: whether there is an offset b.

    Returns:
        (outputs, inputs) weights and (outputs,) offset, zero without one.
    """
    mean_in, mean_out = reads.mean(0), wanted.mean(0)
    if not centred:
        mean_in, mean_out = torch.zeros_like(mean_in), torch.zeros_like(mean_out)
    reads = reads - mean_in
    missing = wanted - mean_out - reads @ weight.T
    rows, inputs = reads.shape
    pull = ridge * float(reads.square().mean()) * rows + 1e-12
    # The smaller of the two equivalent systems: over inputs, or over rows.
    over_rows = rows < inputs
    gram = (reads @ reads.T if over_rows else reads.T @ reads).double()
    gram.diagonal().add_(pull)
    factor = torch.linalg.cholesky(gram)
    if over_rows:
        change = reads.T.double() @ torch.cholesky_solve(missing.double(), factor)
    else:
        change = torch.cholesky_solve((reads.T @ missing).double(), factor)
    found = weight + change.T.to(weight.dtype)
    return found, mean_out - found @ mean_in


def cells_of(maps: Tensor, cells: Tensor) -> Tensor:
    """(N, C, h, w) maps at (N, p) places, counted along rows -> (N, p, C)."""
    flat = maps.flatten(2)
    return flat.gather(2, cells[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def patches(maps: Tensor, conv: nn.Conv2d, width: int, cells: Tensor) -> Tensor:
    """What a convolution reads for (N, p) of its outputs, in rows `width` wide -> (N, p, inputs) like its weight."""
    (tall, wide), (down, right) = conv.kernel_size, conv.stride
    above, left = (int(side) for side in conv.padding)
    padded = nn.functional.pad(maps, (left, left, above, above))
    device = maps.device
    rows = (cells // width * down)[..., None, None] + torch.arange(tall, device=device)[:, None]
    columns = (cells % width * right)[..., None, None] + torch.arange(wide, device=device)
    faces = torch.arange(len(maps), device=device)[:, None, None, None]
    found = padded[faces, :, rows, columns]  # (N, p, tall, wide, C)
    return found.permute(0, 1, 4, 2, 3).flatten(2)
