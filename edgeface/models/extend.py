"""Adding a mask or a pattern head to a trained network, pruned or not; everything trained is kept."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from edgeface.models.count import count
from edgeface.models.iresnet import FaceNet
from edgeface.models.spec import ArchSpec
from edgeface.models.variants import ARCHS, with_mask
from edgeface_runtime.errors import InputError

__all__ = ["add_mask", "remaining_width", "with_patterns"]


def remaining_width(spec: ArchSpec) -> float:
    """Filters left, as a share of the full-width architecture's of that name: (1 - ratio) x width."""
    if spec.name not in ARCHS:
        raise InputError(f"unknown architecture {spec.name!r}: known are {', '.join(ARCHS)}")
    whole = replace(ARCHS[spec.name](1.0), head=spec.head)
    return count(replace(spec, mask=None)).filters / count(whole).filters


def add_mask(model: FaceNet, ratio: float | None = None, kind: str = "decoder", patterns: int = 0) -> FaceNet:
    """A new network with the same weights and a fresh, nearly open mask, in the same mode (train or eval).

    The mask's own widths are the architecture's (256; MobileFaceNet 64) x (1 - ratio), rounded to 8; without `ratio`
    they follow the filters the network has left, which is the achieved ratio of a pruned one and also fits reduced
    widths.

    Args:
        kind: decoder, spatial or vector.
        patterns: side of the grid of a fresh pattern head; 0: none.

    Raises:
        InputError: the network has a mask already, or `kind` or `patterns` cannot be.
    """
    if model.spec.mask is not None:
        raise InputError("the network has a mask decoder already")
    width = remaining_width(model.spec) if ratio is None else 1 - ratio
    return _carried(model, with_mask(model.spec, width, kind, patterns), fresh=("decoder.", "pattern."))


def with_patterns(model: FaceNet, patterns: int) -> FaceNet:
    """A new network with the same weights and a pattern head for a `patterns` x `patterns` grid; 0 drops it.

    A head for the same grid is kept as trained, one for another grid is new. The mode (train or eval) stays.

    Raises:
        InputError: the network has no mask, or `patterns` is out of range.
    """
    if model.spec.mask is None:
        if patterns == 0:
            return _carried(model, model.spec)
        raise InputError("--patterns needs a network with a mask: add one with --mask")
    try:
        spec = replace(model.spec, mask=replace(model.spec.mask, patterns=patterns))
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    return _carried(model, spec, fresh=() if patterns == model.spec.mask.patterns else ("pattern.",))


def _carried(model: FaceNet, spec: ArchSpec, fresh: tuple[str, ...] = ()) -> FaceNet:
    """A network of `spec` with the weights of `model`, all but those whose names begin with `fresh`."""
    made = FaceNet(spec)
    state: dict[str, Tensor] = {
        name: tensor for name, tensor in model.state_dict().items() if not (fresh and name.startswith(fresh))
    }
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith(fresh) for name in missing)
    return made.train(model.training)
