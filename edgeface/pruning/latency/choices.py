"""What can be chosen for every group, and what a choice costs by a device profile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from edgeface.models.spec import ArchSpec
from edgeface.models.units import units
from edgeface.pruning.depth import removable, without_blocks
from edgeface.pruning.groups import Group, groups, resized
from edgeface.pruning.latency.origin import Origin
from edgeface.pruning.latency.solve import cheapest
from edgeface_calibration.device_profile import DeviceProfile

__all__ = ["FLOOR", "Choices", "cost_of", "predicted_ms", "reachable_ms", "shown_ms"]

FLOOR = 0.25
"""A group keeps at least this share of its channels: losses are not measured beyond, and a bottleneck stays one."""
LEVELS = 16
"""Most widths of a group that are looked at."""


def predicted_ms(profile: DeviceProfile, spec: ArchSpec) -> float:
    """Latency of a network by a profile, milliseconds; raises as `DeviceProfile.predict`."""
    return profile.predict([(unit.key, unit.widths) for unit in units(spec)])


@dataclass(frozen=True)
class Choices:
    """The options of every group: widths, most first, and 0 for a block that goes."""

    spec: ArchSpec
    parts: list[Group]
    widths: list[list[int]]

    @staticmethod
    def of(spec: ArchSpec, round_to: int, keep_blocks: bool, origin: Origin | None = None) -> Choices:
        parts, begun = groups(spec), origin or Origin.of(spec)
        blocks = set() if keep_blocks else set(removable(spec))
        whole = {part.name: part.width for part in groups(begun.spec)}
        widths = []
        for part in parts:
            floor = max(1, whole[begun.name(part.name)] * FLOOR)
            step = round_to * max(1, round(part.width / LEVELS / round_to))
            own = [part.width]
            while (width := (own[-1] - 1) // step * step) >= floor:
                own.append(width)
            widths.append(own + [0] * (part.name.removesuffix(".inner") in blocks))
        return Choices(spec, parts, widths)

    def pick(self, choice: tuple[int, ...]) -> tuple[dict[str, int], list[str]]:
        """Widths by group, and the blocks that go."""
        taken = {part.name: own[i] for part, own, i in zip(self.parts, self.widths, choice, strict=True)}
        gone = [name.removesuffix(".inner") for name, width in taken.items() if not width]
        return {part.name: taken[part.name] or part.width for part in self.parts}, gone

    def shape(self, choice: tuple[int, ...]) -> ArchSpec:
        """The architecture that a choice gives."""
        widths, gone = self.pick(choice)
        return without_blocks(resized(self.spec, widths), gone)


def reachable_ms(spec: ArchSpec, profile: DeviceProfile, round_to: int = 8, keep_blocks: bool = False) -> float:
    """The least latency that widths and blocks can be brought to, by the profile; raises as it does."""
    choices = Choices.of(spec, round_to, keep_blocks)
    least = cheapest([[0.0] * len(own) for own in choices.widths], cost_of(choices, profile))
    return cost_of(choices, profile)(least)


def shown_ms(ms: float) -> str:
    """Three digits, rounded up: what is shown as reachable can be reached."""
    digits = 2 - math.floor(math.log10(ms))
    return f"{math.ceil(ms * 10**digits - 1e-9) / 10**digits:.3g}"


def cost_of(choices: Choices, profile: DeviceProfile) -> Callable[[tuple[int, ...]], float]:
    known: dict[tuple[str, tuple[int, ...]], float] = {}

    def cost(choice: tuple[int, ...]) -> float:
        total = 0.0
        for unit in units(choices.shape(choice)):
            part = (unit.key, unit.widths)
            if part not in known:
                known[part] = profile.unit_ms(*part)
            total += known[part]
        return profile.factor * total + profile.offset_ms

    return cost
