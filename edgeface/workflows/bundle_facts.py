"""What a benchmark asks of a bundle: which precisions it has, its filters, and how its network was pruned."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.errors import ArtefactError

if TYPE_CHECKING:
    from edgeface.workflows.benchmark import BenchmarkSettings
    from edgeface_runtime.bundle import Bundle

__all__ = ["count_filters", "precisions_there", "pruning_method"]

TO_LATENCY = re.compile(
    r"pruned: (to [^(]+) \(.*?\), ratio [\d.]+(?:, without [^,]+)?, (\w+), losses on .*?(?:, (refitted on .+))?$"
)


def precisions_there(bundle: Bundle, settings: BenchmarkSettings, skip: Callable[[str], None]) -> list[str]:
    """The precisions asked for that a bundle has.

    Args:
        skip: told of each other one, where several are asked for.

    Raises:
        InputError: it has none of them, or one is not known.
    """
    found = []
    for precision in settings.precisions:
        model = bundle.variant(precision, settings.backend, settings.device)
        if model in bundle.manifest.models:
            found.append(precision)
        elif precision not in EXPORTED or len(settings.precisions) == 1:
            bundle.model_path(model)  # says what is wrong
        else:
            skip(f"{bundle.source} has no {precision} model: left out")
    if not found:
        bundle.model_path(settings.precisions[0])
    return found


def pruning_method(history: Any) -> str:
    """How a network was pruned at last: of `pruned: ratio .5 requested, .4994 achieved, l1, uniform` the end.

    Of `pruned: to 4 ms (3.9 predicted ...), ratio .3, l1, losses on ..., refitted on ...` it is
    `to 4 ms, l1, refitted on ...`.
    """
    steps = [str(step) for step in history] if isinstance(history, list | tuple) else []
    pruned = [step for step in steps if step.startswith("pruned:")]
    if not pruned:
        return ""
    if to_latency := TO_LATENCY.match(pruned[-1]):
        return ", ".join(part for part in to_latency.groups() if part)
    return pruned[-1].partition("achieved, ")[2]


def count_filters(arch: Mapping[str, Any]) -> int | None:
    """Convolution filters of a bundle's `arch`; None for an imported network, and where torch is not installed."""
    if "stages" not in arch or importlib.util.find_spec("torch") is None:
        return None
    from edgeface.models import count
    from edgeface.models.spec import ArchSpec

    try:
        return count(ArchSpec.from_dict(dict(arch))).filters
    except ArtefactError:  # of another version of edgeface
        return None
