"""Adding a mask decoder to a network that has none, pruned or not; everything trained is kept."""

from __future__ import annotations

from dataclasses import replace

from edgeface.models.count import count
from edgeface.models.iresnet import FaceNet
from edgeface.models.spec import ArchSpec
from edgeface.models.variants import ARCHS, with_mask
from edgeface_runtime.errors import InputError

__all__ = ["add_mask", "remaining_width"]


def remaining_width(spec: ArchSpec) -> float:
    """Filters left, as a share of the full-width architecture's of that name: (1 - ratio) x width."""
    bare = count(replace(spec, mask=None)).filters
    if spec.name not in ARCHS:
        raise InputError(f"unknown architecture {spec.name!r}: known are {', '.join(ARCHS)}")
    return bare / count(ARCHS[spec.name](1.0)).filters


def add_mask(model: FaceNet, ratio: float | None = None) -> FaceNet:
    """A new network with the same weights and a fresh, nearly open decoder, in the same mode (train or eval).

    The decoder's three widths are 256 x (1 - ratio), rounded to 8; without `ratio` they follow the filters the
    network has left, which is the achieved ratio of a pruned one and also fits reduced widths.

    Raises:
        InputError: the network has a mask already.
    """
    if model.spec.mask is not None:
        raise InputError("the network has a mask decoder already")
    width = remaining_width(model.spec) if ratio is None else 1 - ratio
    extended = FaceNet(with_mask(model.spec, width))
    missing, unexpected = extended.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected and all(name.startswith("decoder.") for name in missing)
    return extended.train(model.training)
