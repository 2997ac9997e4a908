"""Lists in flags, `0,.1,.2`, sizes, `128x96`, and times, `4ms`."""

from __future__ import annotations

import math
import re

from edgeface_runtime.errors import InputError

__all__ = ["floats", "integers", "milliseconds", "sides", "words"]

LARGEST_SIDE = 4096
"""Of a face crop, pixels."""


def words(text: str) -> tuple[str, ...]:
    """Comma-separated words, blanks around them dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def floats(text: str, flag: str) -> tuple[float, ...]:
    """Comma-separated numbers.

    Raises:
        InputError: not numbers; names the flag.
    """
    try:
        found = tuple(float(part) for part in words(text))
    except ValueError as exc:
        raise InputError(f"{flag} takes numbers separated by commas, got {text!r}") from exc
    if not found:
        raise InputError(f"{flag} is empty")
    return found


def integers(text: str, flag: str) -> tuple[int, ...]:
    """Comma-separated whole numbers.

    Raises:
        InputError: not whole numbers; names the flag.
    """
    try:
        found = tuple(int(part) for part in words(text))
    except ValueError as exc:
        raise InputError(f"{flag} takes whole numbers separated by commas, got {text!r}") from exc
    if not found:
        raise InputError(f"{flag} is empty")
    return found


def sides(text: str, flag: str) -> tuple[int, int]:
    """Height and width, as `128x96`.

    Raises:
        InputError: not two whole numbers of 1 to LARGEST_SIDE with an x between; names the flag.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"{flag} takes height x width, such as 128x96, got {text!r}")
    height, width = int(parts[0]), int(parts[1])
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise InputError(f"{flag} takes sides of 1 to {LARGEST_SIDE} pixels, got {text!r}")
    return height, width


def milliseconds(text: str, flag: str) -> float:
    """A time as `4ms`, `800us`, `.004s` or `4`, which is milliseconds.

    Raises:
        InputError: not a positive time; names the flag.
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(us|µs|ms|s)?\s*", text)
    value = float(match[1]) * {"us": 1e-3, "µs": 1e-3, "s": 1e3}.get(match[2], 1.0) if match else 0.0
    if value <= 0 or not math.isfinite(value):
        raise InputError(f"{flag} takes a time such as 4ms or 800us, got {text!r}")
    return value
