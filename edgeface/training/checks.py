"""Checks that settings of every kind of training share; their ValueErrors use the command line's words."""

from __future__ import annotations

from collections.abc import Iterable

from edgeface_calibration.occluders import KINDS
from edgeface_runtime.patterns import PATTERN_GRIDS

__all__ = ["check_occluders", "check_patterns", "one_of", "within"]


def one_of(flag: str, value: str, known: Iterable[str], others: tuple[str, ...] = ()) -> None:
    """`others` are known to the command line, but not settled here."""
    known = tuple(known)
    if value not in known:
        raise ValueError(f"unknown {flag} {value!r}: choose one of {', '.join((*known, *others))}")


def within(flag: str, value: float, low: float, high: float) -> None:
    """Both ends included."""
    if not low <= value <= high:
        raise ValueError(f"{flag} must be between {low} and {high}, got {value}")


def check_patterns(patterns: int, covered: bool, cure: str) -> None:
    """0, or the side of a known grid, whose patterns only covered faces show; `cure` says how to have those."""
    if patterns and patterns not in PATTERN_GRIDS:
        raise ValueError(f"--patterns must be 0 or one of {', '.join(map(str, PATTERN_GRIDS))}, got {patterns}")
    if patterns and not covered:
        raise ValueError(f"--patterns needs covered faces: add {cure}")


def check_occluders(
    kinds: tuple[str, ...], share: tuple[float, float] | None, scale: tuple[float, float] | None
) -> None:
    """What covers the faces: known kinds, and one range at most for their size."""
    if not kinds:
        raise ValueError(f"--kind needs at least one of {', '.join(KINDS)}")
    for kind in kinds:
        one_of("--kind", kind, KINDS)
    if share is not None and scale is not None:
        raise ValueError("--share and --scale both set the occluders' size: give one of them")
    if share is not None and not 0 < share[0] <= share[1] <= 0.9:
        raise ValueError(f"--share must be a range within 0 and 0.9, got {share[0]} to {share[1]}")
    if scale is not None and not 1 <= scale[0] <= scale[1] <= 5:
        raise ValueError(f"--scale must be a range within 1 and 5, got {scale[0]} to {scale[1]}")
