"""Axes of a chart: where a value lies, and which values are written at it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Axis", "linear_axis", "log_axis"]

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """One axis."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where `value` lies: 0 at `low`, 1 at `high`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear_axis(title: str, values: list[float], *, zero: bool = False, most: int = 6) -> Axis:
    """An axis with round ticks around `values`.

    Args:
        zero: begin at 0, or end there.
        most: ticks at most.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-9:
        low, high = (low, low + 1.0) if zero else (low - 0.5, high + 0.5)
    step = _step((high - low) / (most - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(number * step, 10) for number in range(first, last + 1))
    return Axis(title, ticks[0], ticks[-1], ticks)


def log_axis(title: str, low: float, high: float) -> Axis:
    """A logarithmic axis from `low` to `high`, both above 0, with a tick at every power of ten."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    return Axis(title, low, high, tuple(10.0**power for power in range(first, last + 1)), log=True)


def _step(least: float) -> float:
    """The smallest round step that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))
