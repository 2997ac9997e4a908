"""Where a group's channels come out: modules whose outputs, added up, are the channels as the rest reads them.

The batch norm behind a convolution, or the convolution itself where there is none (in a mask). Of convolutions one
behind the other (a stem's or an inverted block's pair) it is the last one's. A stage's channels come from the last
convolution of every block and from the shortcut. What is only tied to a group, a depthwise head or a mask's last
convolution, makes no channel of the top map and is left out. PReLU, which may follow, keeps a channel's scale.
"""

from __future__ import annotations

from edgeface.models.spec import ArchSpec
from edgeface.pruning.groups import Group

__all__ = ["outputs"]

NORMS = {
    "bottle": {"conv1": "bn2", "conv2": "bn3"},
    "basic": {"conv1": "bn1", "conv2": "bn2"},
    "inverted": {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3"},
}
FIXED = {"stem.0": "stem.1", "stem.3": "stem.4", "top.0": "top.1", "decoder.conv1": "decoder.bn"}


def outputs(spec: ArchSpec, group: Group) -> tuple[str, ...]:
    """Names of the modules, each giving (N, group.width, h, w)."""
    if group.name.startswith("decoder."):
        return tuple(FIXED.get(conv, conv) for conv in group.convs)
    makers = [conv for conv in group.convs if conv not in ("head.0", "decoder.conv2")]
    if group.name == "stem" or group.name.endswith(".inner"):
        makers = makers[-1:]
    return tuple(_norm(spec, conv) for conv in makers)


def _norm(spec: ArchSpec, conv: str) -> str:
    if conv in FIXED:
        return FIXED[conv]
    place, name = conv.rsplit(".", 1)
    return f"{place}.1" if name == "0" else f"{place}.{NORMS[spec.block][name]}"
