"""Which networks no other one beats: accuracy against latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ParetoPoint", "mark_front"]


@dataclass(frozen=True)
class ParetoPoint:
    """One row under one protocol."""

    row: int
    """Its number in the benchmark."""
    protocol: str
    latency_ms: float
    """p50 at batch 1."""
    accuracy: float
    """0..1."""
    interval: tuple[float, float] | None
    """95 % of the accuracy, where this run measured it."""
    on_front: bool = False
    """No other row of this protocol is as fast and as accurate, and better in one of the two."""


def mark_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (latency, accuracy) whether it is on the front; of equal points all are or none is."""
    marks = [False] * len(points)
    best = float("-inf")
    at = 0
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    while at < len(order):
        equal = [index for index in order[at:] if points[index] == points[order[at]]]
        accuracy = points[order[at]][1]
        if accuracy > best:
            best = accuracy
            for index in equal:
                marks[index] = True
        at += len(equal)
    return marks
