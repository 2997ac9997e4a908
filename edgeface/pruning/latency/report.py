"""What pruning to a latency did, over all its steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgeface.models.count import Counts, count
from edgeface.models.spec import ArchSpec
from edgeface.pruning.groups import groups
from edgeface.pruning.latency.choices import predicted_ms
from edgeface.pruning.latency.origin import Origin
from edgeface_calibration.device_profile import DeviceProfile

__all__ = ["GroupChange", "LatencyReport", "report_on"]


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


def report_on(origin: Origin, spec: ArchSpec, profile: DeviceProfile, target_ms: float, method: str) -> LatencyReport:
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
