"""The network that a latency leaves the most of: widths and blocks by loss per millisecond, then real removal.

Done in steps, each a part of the way with losses measured anew: a block that is hardly missed alone may be all that
is left of its kind once others are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from edgeface.models.count import Counts, count
from edgeface.models.iresnet import FaceNet
from edgeface.models.spec import ArchSpec
from edgeface.models.units import units
from edgeface.pruning.groups import Group, groups, resized
from edgeface.pruning.importance import importance
from edgeface.pruning.latency.depth import drop_blocks, left_blocks, removable, without_blocks
from edgeface.pruning.latency.losses import Losses, measure_losses
from edgeface.pruning.latency.solve import cheapest, choose
from edgeface.pruning.prune import kept_channels, shrink
from edgeface_calibration.device_profile import DeviceProfile
from edgeface_runtime.errors import InputError

__all__ = [
    "STEPS",
    "GroupChange",
    "Halfway",
    "LatencyPruned",
    "LatencyReport",
    "Origin",
    "halfway",
    "predicted_ms",
    "prune_to_latency",
    "reachable_ms",
]

FLOOR = 0.25
"""A group keeps at least this share of its channels: losses are not measured beyond, and a bottleneck stays one."""
LEVELS = 16
"""Most widths of a group that are looked at."""
STEPS = 3
"""How often losses are measured on the way."""


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
class Origin:
    """What earlier steps began with and did."""

    spec: ArchSpec
    """The network before the first step."""
    blocks: dict[str, str]
    """Block of the present network -> its name in that one."""
    spent: dict[str, float]
    """Group of that one -> loss of the steps so far."""

    @staticmethod
    def of(spec: ArchSpec) -> Origin:
        """Before the first step."""
        return Origin(spec, left_blocks(spec, ()), {part.name: 0.0 for part in groups(spec)})

    def name(self, group: str) -> str:
        """The first name of a group of the present network."""
        block = group.removesuffix(".inner")
        return self.blocks[block] + ".inner" if group.endswith(".inner") and block in self.blocks else group


@dataclass(frozen=True)
class LatencyPruned:
    """The smaller network, in evaluation mode, and what was done."""

    model: FaceNet
    report: LatencyReport
    origin: Origin
    """For a further step."""


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
    def of(spec: ArchSpec, round_to: int, keep_blocks: bool, origin: Origin | None = None) -> _Choices:
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


def reachable_ms(spec: ArchSpec, profile: DeviceProfile, round_to: int = 8, keep_blocks: bool = False) -> float:
    """The least latency that widths and blocks can be brought to, by the profile; raises as it does."""
    choices = _Choices.of(spec, round_to, keep_blocks)
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
    keep_blocks: bool = False,
    origin: Origin | None = None,
) -> LatencyPruned:
    """Remove filters and blocks until the profile predicts `target_ms`; `model` itself is left as it is.

    Args:
        losses: of `edgeface.pruning.latency.losses`, by the same method.
        round_to: widths become multiples of this.
        keep_blocks: only narrow; no block goes.
        origin: what earlier steps did, for the report and the narrowest widths.

    Raises:
        InputError: the target is below what can be reached, which is told, or the profile is of another network.
    """
    rank = importance(method)
    begun = origin or Origin.of(model.spec)
    choices = _Choices.of(model.spec, round_to, keep_blocks, begun)
    cost = _cost(choices, profile)
    table = [
        [losses.of(part, width) if width else losses.blocks[part.name.removesuffix(".inner")] for width in own]
        for part, own in zip(choices.parts, choices.widths, strict=True)
    ]
    choice = choose(table, cost, target_ms)
    if choice is None:
        least = reachable_ms(model.spec, profile, round_to, keep_blocks)
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
    spent = dict(begun.spent)
    for part, taken, loss in zip(choices.parts, choice, table, strict=True):
        spent[begun.name(part.name)] += loss[taken]
    blocks = {now: begun.blocks[before] for now, before in left_blocks(model.spec, gone).items()}
    after = Origin(begun.spec, blocks, spent)
    return LatencyPruned(smaller, _report(after, smaller.spec, profile, target_ms, method), after)


def _report(origin: Origin, spec: ArchSpec, profile: DeviceProfile, target_ms: float, method: str) -> LatencyReport:
    """What became of `origin.spec`."""
    widths = {origin.name(part.name): part.width for part in groups(spec)}
    changes = tuple(
        GroupChange(part.name, part.width, widths.get(part.name, 0), origin.spent[part.name])
        for part in groups(origin.spec)
    )
    before, after = count(origin.spec), count(spec)
    return LatencyReport(
        method,
        target_ms,
        predicted_ms(profile, spec),
        predicted_ms(profile, origin.spec),
        sum(change.loss for change in changes),
        1 - after.filters / before.filters,
        tuple(change.name.removesuffix(".inner") for change in changes if not change.after),
        before,
        after,
        changes,
    )


@dataclass(frozen=True)
class Halfway:
    """A network before its last step, and the losses that step is chosen by."""

    model: FaceNet
    losses: Losses
    origin: Origin


def halfway(
    model: FaceNet,
    profile: DeviceProfile,
    target_ms: float,
    faces: Tensor,
    *,
    steps: int = STEPS,
    method: str = "l1",
    round_to: int = 8,
    keep_blocks: bool = False,
    first: Losses | None = None,
    progress: Callable[[str], None] | None = None,
) -> Halfway:
    """All steps but the last, each by the same factor of latency; losses are measured before every step.

    Args:
        faces: (N, 3, H, W) float in [-1, 1].
        first: losses of `model` itself where they are known.
        progress: called with a name as each loss is known.

    Raises:
        InputError: as `prune_to_latency`.
    """
    rank, present, origin = importance(method), model, Origin.of(model.spec)
    now = predicted_ms(profile, model.spec)
    with torch.inference_mode():
        target = model(faces)
    losses = first or measure_losses(model, faces, rank, progress)
    for step in range(1, steps):
        goal = now * (target_ms / now) ** (step / steps)
        done = prune_to_latency(
            present,
            profile,
            goal,
            losses,
            method=method,
            round_to=round_to,
            keep_blocks=keep_blocks,
            origin=origin,
        )
        present, origin = done.model, done.origin
        losses = measure_losses(present, faces, rank, progress, target)
    return Halfway(present, losses, origin)
