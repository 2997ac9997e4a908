"""How numbers are written on the page."""

from __future__ import annotations

from edgeface.workflows.benchmark import BenchmarkReport
from edgeface_calibration.metrics import Interval

__all__ = ["NONE", "names_of", "number", "percent", "share_range"]

NONE = "–"
"""In place of a value there is not."""


def number(value: float | None, digits: int = 0) -> str:
    """With a thin space between thousands: `20 150`."""
    return NONE if value is None else f"{value:,.{digits}f}".replace(",", "\u202f").replace("-", "\u2212")


def percent(share: float | None, digits: int = 2) -> str:
    """A share of 1 in percent, without the sign."""
    return NONE if share is None else number(100 * share, digits)


def share_range(interval: Interval | tuple[float, float] | None, factor: float = 100, digits: int = 2) -> str:
    """An interval, in percent by default."""
    if interval is None:
        return NONE
    low, high = interval if isinstance(interval, tuple) else (interval.low, interval.high)
    return f"{number(factor * low, digits)} to {number(factor * high, digits)}"


def names_of(report: BenchmarkReport) -> list[str]:
    """A name for every row: that of its bundle, or its ratio; with the precision where there are several."""
    several = len({row.precision for row in report.rows}) > 1
    return [
        (row.name or f"ratio {row.requested:g}") + (f" {row.precision}" if several else "") for row in report.rows
    ]
