"""The network that a latency leaves the most of: widths and blocks by loss per millisecond, then real removal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from edgeface.models.count import Counts, count
from edgeface.models.iresnet import FaceNet
from edgeface.models.spec import ArchSpec
from edgeface.models.units import units
from edgeface.pruning.groups import Group, groups, resized
from edgeface.pruning.importance import importance
from edgeface.pruning.latency.depth import drop_blocks, removable, without_blocks
from edgeface.pruning.latency.losses import Losses
from edgeface.pruning.latency.solve import cheapest, choose
from edgeface.pruning.prune import kept_channels, shrink
from edgeface_calibration.device_profile import DeviceProfile
from edgeface_runtime.errors import InputError

__all__ = ["GroupChange", "LatencyReport", "LatencyPruned", "predicted_ms", "prune_to_latency", "reachable_ms"]

FLOOR = 0.25
"""A group keeps at least this share of its channels: losses are not measured beyond, and a bottleneck stays one."""
LEVELS = 16
"""Most widths of a group that are looked at."""


@dataclass(frozen=True)
class GroupChange:
    """What happened to one group."""

    name: str
    before: int
    after: int
    """0: its block is gone."""
    loss: float
    """Measured loss of this part alone, 1 - mean cosine."""


@dataclass(frozen=True)
class LatencyReport:
    """What was asked for and what was done."""

    method: str
    target_ms: float
    predicted_ms: float
    before_ms: float
    """Predicted latency of the network as it was."""
    expected_loss: float
    """Sum of the losses of the parts, each measured alone, before any recovery."""
    achieved_ratio: float
    """Share of convolution filters removed, those of whole blocks among them."""
    blocks_removed: tuple[str, ...]
    before: Counts
    after: Counts
    groups: tuple[GroupChange, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class LatencyPruned:
    """The smaller network, in evaluation mode, and what was done."""

    model: FaceNet
    report: LatencyReport


def predicted_ms(profile: DeviceProfile, spec: ArchSpec) -> float:
    """Latency of a network by a profile, milliseconds; raises as `DeviceProfile.predict`."""
    return profile.predict([(unit.key, unit.widths) for unit in units(spec)])


@dataclass(frozen=True)
class _Choices:
    """The options of every group: widths, most first, and 0 for a block that goes."""

    spec: ArchSpec
    parts: list[Group]
    widths: list[list[int]]

    @staticmethod
    def of(spec: ArchSpec, round_to: int) -> _Choices:
        parts, blocks = groups(spec), set(removable(spec))
        widths = []
        for part in parts:
            floor = max(1, part.width * FLOOR)
            step = round_to * max(1, round(part.width / LEVELS / round_to))
            own = [part.width]
            while (width := (own[-1] - 1) // step * step) >= floor:
                own.append(width)
            widths.append(own + [0] * (part.name.removesuffix(".inner") in blocks))
        return _Choices(spec, parts, widths)

    def pick(self, choice: tuple[int, ...]) -> tuple[dict[str, int], list[str]]:
        """Widths by group, and the blocks that go."""
        taken = {part.name: own[i] for part, own, i in zip(self.parts, self.widths, choice, strict=True)}
        gone = [name.removesuffix(".inner") for name, width in taken.items() if not width]
        return {part.name: taken[part.name] or part.width for part in self.parts}, gone

    def shape(self, choice: tuple[int, ...]) -> ArchSpec:
        """The architecture that a choice gives."""
        widths, gone = self.pick(choice)
        return without_blocks(resized(self.spec, widths), gone)


def reachable_ms(spec: ArchSpec, profile: DeviceProfile, round_to: int = 8) -> float:
    """The least latency that widths and blocks can be brought to, by the profile; raises as it does."""
    choices = _Choices.of(spec, round_to)
    least = cheapest([[0.0] * len(own) for own in choices.widths], _cost(choices, profile))
    return _cost(choices, profile)(least)


def _cost(choices: _Choices, profile: DeviceProfile) -> Callable[[tuple[int, ...]], float]:
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


def prune_to_latency(
    model: FaceNet,
    profile: DeviceProfile,
    target_ms: float,
    losses: Losses,
    *,
    method: str = "l1",
    round_to: int = 8,
) -> LatencyPruned:
    """Remove filters and blocks until the profile predicts `target_ms`; `model` itself is left as it is.

    Args:
        losses: of `edgeface.pruning.latency.losses`, by the same method.
        round_to: widths become multiples of this.

    Raises:
        InputError: the target is below what can be reached, which is told, or the profile is of another network.
    """
    rank = importance(method)
    choices = _Choices.of(model.spec, round_to)
    cost = _cost(choices, profile)
    table = [
        [losses.of(part, width) if width else losses.blocks[part.name.removesuffix(".inner")] for width in own]
        for part, own in zip(choices.parts, choices.widths, strict=True)
    ]
    choice = choose(table, cost, target_ms)
    if choice is None:
        least = reachable_ms(model.spec, profile, round_to)
        raise InputError(f"--target-latency {target_ms:g} ms cannot be reached: {least:.3g} ms can, by this profile")
    widths, gone = choices.pick(choice)
    shallow = drop_blocks(model, gone)
    left = iter(groups(shallow.spec))
    kept = {}
    for part in choices.parts:
        if part.name.removesuffix(".inner") not in gone:
            moved = next(left)
            kept[moved.name] = kept_channels(rank(shallow, moved), widths[part.name])
    smaller = shrink(shallow, kept)
    before, after = count(model.spec), count(smaller.spec)
    changes = tuple(
        GroupChange(part.name, part.width, own[taken], loss[taken])
        for part, own, taken, loss in zip(choices.parts, choices.widths, choice, table, strict=True)
    )
    report = LatencyReport(
        method,
        target_ms,
        predicted_ms(profile, smaller.spec),
        predicted_ms(profile, model.spec),
        sum(change.loss for change in changes),
        1 - after.filters / before.filters,
        tuple(gone),
        before,
        after,
        changes,
    )
    return LatencyPruned(smaller, report)
