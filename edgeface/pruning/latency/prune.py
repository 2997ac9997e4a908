"""The network that a latency leaves the most of: widths and blocks by loss per millisecond, then real removal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.depth import drop_blocks, left_blocks
from edgeface.pruning.groups import groups
from edgeface.pruning.importance import importance
from edgeface.pruning.latency.choices import Choices, cost_of, reachable_ms, shown_ms
from edgeface.pruning.latency.losses import Losses
from edgeface.pruning.latency.origin import Origin
from edgeface.pruning.latency.report import LatencyReport, report_on
from edgeface.pruning.latency.solve import choose
from edgeface.pruning.prune import kept_channels, shrink
from edgeface.pruning.reconstruct import reconstruct
from edgeface_calibration.device_profile import DeviceProfile
from edgeface_runtime.errors import InputError

__all__ = ["LatencyPruned", "prune_to_latency"]


@dataclass(frozen=True)
class LatencyPruned:
    """The smaller network, in evaluation mode, and what was done."""

    model: FaceNet
    report: LatencyReport
    origin: Origin
    """For a further step, and for refitting."""

    def refit(self, whole: FaceNet, faces: Tensor, progress: Callable[[str], None] | None = None) -> None:
        """Refit the layers of `model`, in place, to the network before the first step, as `reconstruct`."""
        reconstruct(whole, self.model, self.origin.kept, faces, blocks=self.origin.blocks, progress=progress)


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
    choices = Choices.of(model.spec, round_to, keep_blocks, begun)
    cost = cost_of(choices, profile)
    table = [
        [losses.of(part, width) if width else losses.blocks[part.name.removesuffix(".inner")] for width in own]
        for part, own in zip(choices.parts, choices.widths, strict=True)
    ]
    choice = choose(table, cost, target_ms)
    if choice is None:
        least = reachable_ms(model.spec, profile, round_to, keep_blocks)
        raise InputError(
            f"--target-latency {target_ms:g} ms cannot be reached: {shown_ms(least)} ms can, by this profile"
        )
    widths, gone = choices.pick(choice)
    shallow = drop_blocks(model, gone)
    left = iter(groups(shallow.spec))
    kept, stayed = {}, {}
    for part in choices.parts:
        if part.name.removesuffix(".inner") not in gone:
            moved = next(left)
            kept[moved.name] = kept_channels(rank(shallow, moved), widths[part.name])
            first = begun.name(part.name)
            stayed[first] = begun.kept[first][kept[moved.name]]
    smaller = shrink(shallow, kept)
    spent = dict(begun.spent)
    for part, taken, loss in zip(choices.parts, choice, table, strict=True):
        spent[begun.name(part.name)] += loss[taken]
    blocks = {now: begun.blocks[before] for now, before in left_blocks(model.spec, gone).items()}
    after = Origin(begun.spec, blocks, spent, stayed)
    return LatencyPruned(smaller, report_on(after, smaller.spec, profile, target_ms, method), after)
