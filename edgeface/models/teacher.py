"""Reading a MobileFaceNet someone else trained (arXiv 1804.07573) into a checkpoint of ours.

The file is a safetensors file of the common PyTorch layout: conv1, dw_conv1, blocks.N.conv.K, conv2, linear7,
linear1, each convolution followed by its BN. Such networks eat (x - 127.5) / 128, ours eat (x - 127.5) / 127.5; the
factor 255 / 256 between the two goes into conv1, which has no bias and pads with zeros, so nothing else changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from edgeface.models.checkpoint import Checkpoint, CheckpointMeta
from edgeface.models.iresnet import FaceNet
from edgeface.models.tensor_file import read_tensors
from edgeface.models.variants import mobilefacenet
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import require_file

__all__ = ["LICENCE", "SCALE", "read_mobilefacenet"]

SCALE = 127.5 / 128
"""Our input times this is theirs."""
LICENCE = "no stated licence: for research beside the project only, must not be shipped or passed on"
BN = ("weight", "bias", "running_mean", "running_var")


def read_mobilefacenet(path: Path) -> Checkpoint:
    """The network in `path`, in evaluation mode, giving the same embeddings on our input.

    Raises:
        InputError: the file is missing.
        ArtefactError: it is not a readable safetensors file, or not this network.
    """
    found = _read(path)
    model = FaceNet(mobilefacenet())
    names = dict(_names(model))
    state = {name: tensor for name, tensor in model.state_dict().items() if name.endswith("num_batches_tracked")}
    for theirs, ours in names.items():
        if theirs not in found:
            raise ArtefactError(f"{path} is not this MobileFaceNet: {theirs} is missing")
        wanted = model.get_parameter(ours) if not ours.endswith(BN[2:]) else model.get_buffer(ours)
        tensor = found[theirs].float()
        # Their last 1x1 convolution on one cell is our linear layer.
        if math.prod(tensor.shape) != wanted.numel() or tensor.squeeze().shape != wanted.squeeze().shape:
            raise ArtefactError(
                f"{path} is not this MobileFaceNet: {theirs} is {_shape(tensor)}, not {_shape(wanted)}"
            )
        if not torch.isfinite(tensor).all():
            raise ArtefactError(f"{path}: {theirs} holds values that are not finite: the file is damaged")
        state[ours] = tensor.reshape(wanted.shape)
    extra = sorted(name for name in found if name not in names and not name.endswith("num_batches_tracked"))
    if extra:
        raise ArtefactError(f"{path} is not this MobileFaceNet: {extra[0]} has no place in it")
    state["stem.0.weight"] = (state["stem.0.weight"].double() * SCALE).float()
    model.load_state_dict(state)
    meta = CheckpointMeta(
        stage="clean",
        data="as its source says; not trained here",
        licence=LICENCE,
        history=(f"converted from {path.name}: MobileFaceNet trained elsewhere, {LICENCE}",),
    )
    return Checkpoint(model.eval(), meta)


def _read(path: Path) -> dict[str, Tensor]:
    require_file(path, "weights")
    try:
        return read_tensors(path)
    except (SafetensorError, OSError) as exc:
        raise ArtefactError(
            f"{path} is not a readable safetensors file: convert reads no other format ({exc})"
        ) from exc


def _names(model: FaceNet) -> Iterator[tuple[str, str]]:
    """Their name -> ours, for every tensor but BN's counters."""
    yield from _layer("conv1", "stem", 0)
    yield from _layer("dw_conv1", "stem", 3)
    number = 0
    for index, stage in enumerate(model.spec.stages):
        for block in range(len(stage.inner)):
            ours, theirs = f"stages.{index}.{block}", f"blocks.{number}.conv"
            for step, place in enumerate((0, 3, 6), start=1):
                yield f"{theirs}.{place}.weight", f"{ours}.conv{step}.weight"
                yield from ((f"{theirs}.{place + 1}.{part}", f"{ours}.bn{step}.{part}") for part in BN)
                if step < 3:
                    yield f"{theirs}.{place + 2}.weight", f"{ours}.prelu{step}.weight"
            number += 1
    yield from _layer("conv2", "top", 0)
    yield from _layer("linear7", "head", 0, prelu=False)
    yield "linear1.conv.weight", "head.3.weight"
    yield from ((f"linear1.bn.{part}", f"head.4.{part}") for part in BN)


def _layer(theirs: str, ours: str, place: int, prelu: bool = True) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.conv.weight", f"{ours}.{place}.weight"
    yield from ((f"{theirs}.bn.{part}", f"{ours}.{place + 1}.{part}") for part in BN)
    if prelu:
        yield f"{theirs}.prelu.weight", f"{ours}.{place + 2}.weight"


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape)
