"""Pruning to a latency: what widths and blocks cost on a device and in accuracy, and the cheapest way to a budget."""

from __future__ import annotations

from edgeface.pruning.depth import drop_blocks, removable, without_blocks
from edgeface.pruning.latency.losses import Losses, measure_losses
from edgeface.pruning.latency.prune import prune_to_latency
from edgeface.pruning.latency.report import LatencyReport
from edgeface.pruning.latency.run import prune_checkpoint_to_latency

__all__ = [
    "LatencyReport",
    "Losses",
    "drop_blocks",
    "measure_losses",
    "prune_checkpoint_to_latency",
    "prune_to_latency",
    "removable",
    "without_blocks",
]
