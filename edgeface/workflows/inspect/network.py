"""A network by its name: counted from its widths alone, no weights are made."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass

from edgeface.workflows.inspect.checkpoint import arch_lines
from edgeface.workflows.inspect.description import Description, millions

__all__ = ["NetworkAsked", "describe_network", "known_networks"]


@dataclass(frozen=True)
class NetworkAsked:
    """A network as the flags name it."""

    arch: str
    width: float = 1.0
    head: str | None = None
    stem_stride: int | None = None
    mask: str = "none"
    input_size: tuple[int, int] | None = None
    """Height, width."""
    ratio: float = 0.0


def known_networks() -> tuple[str, ...]:
    """Names of the networks, none where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        return ()
    from edgeface.models import ARCHS

    return tuple(ARCHS)


def describe_network(asked: NetworkAsked) -> Description:
    """Counts of a network, pruned uniformly at its ratio.

    Raises:
        InputError: a flag that network does not take.
    """
    from edgeface.models import build_spec, count
    from edgeface.pruning.allocate import achieved_ratio, allocate
    from edgeface.pruning.groups import groups, resized

    spec = build_spec(
        asked.arch,
        asked.width,
        stem_stride=asked.stem_stride,
        head=asked.head,
        mask=asked.mask,
        input_size=asked.input_size,
    )
    parts = groups(spec)
    widths = allocate(parts, asked.ratio, 8, None)
    spec = resized(spec, widths)
    counts = count(spec)
    achieved = round(achieved_ratio(parts, widths), 6)
    arch = spec.to_dict()
    data = {
        "kind": "network",
        **asdict(counts),
        "ratio_requested": asked.ratio,
        "ratio_achieved": achieved,
        "arch": arch,
    }
    lines = [
        ("network", f"{asked.arch}, ratio {asked.ratio:g} ({achieved:.1%} of the filters removed)"),
        ("parameters", f"{counts.parameters} ({millions(counts.parameters)})"),
        ("macs", f"{counts.macs} ({millions(counts.macs)})"),
        ("filters", f"{counts.filters}"),
        *arch_lines({key: value for key, value in arch.items() if key != "name"}),
    ]
    return Description(data, lines)
