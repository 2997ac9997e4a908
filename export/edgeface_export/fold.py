"""Fold batch normalisation into the convolutions and linears around it, so the exported graph has none to run, and
put PReLU in its faster form (`edgeface_export.prelu`).

Done on a deep copy, in float64, rounded once to float32 at the end. What can be folded exactly:

- every BN behind a convolution (stem, blocks, shortcuts, the top 1x1, the depthwise head): into that convolution;
- a bottle block's leading BN: into the 1x1 convolution after it (no padding, so a constant shift stays constant
  everywhere);
- the head's BN around its linear layer, and the pattern head's before its own: into that layer.

What cannot: the mask decoder's BN stands after a PReLU and before a 3x3 that pads with zeros. Its shift would have to
be padded too, so it is left in place and reported.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeface.models import FaceNet
from edgeface.models.blocks import BasicBlock, Block, InvertedBlock
from edgeface_export.prelu import replace_prelus

__all__ = ["Folded", "fold"]

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True)
class Folded:
    """A network for inference only, equal to the one it was made from."""

    model: FaceNet
    """float32, on the CPU, in evaluation mode; its state no longer fits a checkpoint."""
    folded: int
    """Batch normalisations that went into their neighbours."""
    kept: tuple[str, ...]
    """Names of those that stayed, because folding them would not be exact."""


def fold(model: FaceNet) -> Folded:
    """Fold every BN of `model` that can be folded exactly; `model` itself is not touched."""
    net = copy.deepcopy(model).cpu().double().eval()
    before = sum(isinstance(module, BatchNorm) for module in net.modules())
    with torch.no_grad():
        net.stem = _chain(net.stem)
        if net.top is not None:
            net.top = _chain(net.top)
        for block in net.modules():
            if isinstance(block, Block):
                _fold_bottle(block)
            elif isinstance(block, BasicBlock | InvertedBlock):
                _fold_behind(block)
        net.head = _head(net.head)
        if net.pattern is not None:
            net.pattern.linear = _linear_before(net.pattern.bn, net.pattern.linear)
            net.pattern.bn = nn.Identity()
    replace_prelus(net)
    kept = tuple(name for name, module in net.named_modules() if isinstance(module, BatchNorm))
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return Folded(net.float().eval(), before - len(kept), kept)


def _chain(layers: nn.Sequential) -> nn.Sequential:
    """(convolution, BN, PReLU) repeated, with the BNs in the convolutions; places in the sequence stay."""
    found = list(layers)
    for place in range(0, len(found), 3):
        found[place], found[place + 1] = _after(found[place], found[place + 1]), nn.Identity()
    return nn.Sequential(*found)


def _fold_bottle(block: Block) -> None:
    block.conv1 = _after(_before(block.bn1, block.conv1), block.bn2)
    block.conv2 = _after(block.conv2, block.bn3)
    for name in ("bn1", "bn2", "bn3"):
        setattr(block, name, nn.Identity())
    _fold_shortcut(block)


def _fold_behind(block: BasicBlock | InvertedBlock) -> None:
    """bnK stands behind convK throughout."""
    for number in ("1", "2", "3"):
        if hasattr(block, f"bn{number}"):
            folded = _after(block.get_submodule(f"conv{number}"), block.get_submodule(f"bn{number}"))
            setattr(block, f"conv{number}", folded)
            setattr(block, f"bn{number}", nn.Identity())
    if isinstance(block, BasicBlock):
        _fold_shortcut(block)


def _fold_shortcut(block: Block | BasicBlock) -> None:
    if isinstance(block.shortcut, nn.Sequential):
        block.shortcut = nn.Sequential(_after(block.shortcut[0], block.shortcut[1]))


def _head(head: nn.Sequential) -> nn.Sequential:
    layers = list(head)
    if isinstance(layers[0], nn.Conv2d):
        return nn.Sequential(_after(layers[0], layers[1]), nn.Flatten(), _linear_after(layers[3], layers[4]))
    if isinstance(layers[1], nn.BatchNorm1d):
        return nn.Sequential(nn.Flatten(), _linear_after(_linear_before(layers[1], layers[2]), layers[3]))
    return head


def _affine(bn: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) that a BN in evaluation mode applies."""
    assert isinstance(bn, BatchNorm) and bn.running_mean is not None and bn.running_var is not None
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return scale, bn.bias - bn.running_mean * scale


def _conv(like: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    made = nn.Conv2d(
        like.in_channels,
        like.out_channels,
        (like.kernel_size[0], like.kernel_size[1]),
        (like.stride[0], like.stride[1]),
        (int(like.padding[0]), int(like.padding[1])),
        groups=like.groups,
        dtype=weight.dtype,
    )
    assert made.bias is not None
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made


def _after(conv: nn.Module, bn: nn.Module) -> nn.Conv2d:
    """bn(conv(x)) as one convolution."""
    assert isinstance(conv, nn.Conv2d)
    scale, shift = _affine(bn)
    bias = shift if conv.bias is None else conv.bias * scale + shift
    return _conv(conv, conv.weight * scale[:, None, None, None], bias)


def _before(bn: nn.Module, conv: nn.Conv2d) -> nn.Conv2d:
    """conv(bn(x)) as one convolution; exact only where nothing is padded."""
    assert all(side == 0 for side in conv.padding)
    scale, shift = _affine(bn)
    bias = torch.einsum("oikl,i->o", conv.weight, shift)
    return _conv(conv, conv.weight * scale[None, :, None, None], bias if conv.bias is None else bias + conv.bias)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    made.weight.copy_(weight)
    made.bias.copy_(bias)
    return made


def _linear_before(bn: nn.Module, linear: nn.Module) -> nn.Linear:
    assert isinstance(linear, nn.Linear)
    scale, shift = _affine(bn)
    return _linear(linear.weight * scale, linear.bias + linear.weight @ shift)


def _linear_after(linear: nn.Module, bn: nn.Module) -> nn.Linear:
    assert isinstance(linear, nn.Linear)
    scale, shift = _affine(bn)
    bias = shift if linear.bias is None else linear.bias * scale + shift
    return _linear(linear.weight * scale[:, None], bias)
