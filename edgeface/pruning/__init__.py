"""Structured pruning: groups, ranking, sensitivity, allocation, and the smaller network."""

from __future__ import annotations

from edgeface.pruning.importance import METHODS
from edgeface.pruning.prune import Pruned, PruneReport, prune
from edgeface.pruning.silence import silenced

__all__ = ["METHODS", "PruneReport", "Pruned", "prune", "silenced"]
