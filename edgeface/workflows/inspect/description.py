"""What a file is, as data for programs and as lines and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeface.workflows.benchmark_report import Sheet

__all__ = ["Description", "Line", "entries", "megabytes", "millions", "region_lines"]

Line = tuple[str, str]
"""What, and how it is; several lines with the same first word stand below one another."""


@dataclass(frozen=True)
class Description:
    """Of one file."""

    data: Mapping[str, Any]
    """Everything, for `--json`; `kind` says what it is."""
    lines: Sequence[Line]
    """What matters, in the order it is read."""
    sheets: Sequence[Sheet] = ()
    """Tables below the lines."""


def entries(name: str, value: Any) -> list[Line]:
    """One line an entry of a dict or list; what is empty is a dash."""
    if isinstance(value, dict):
        texts = [f"{key}: {_words(entry)}" for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        texts = [_words(entry) for entry in value]
    else:
        texts = [] if value is None or value == "" else [str(value)]
    return [(name, text) for text in texts or ["-"]]


def _words(value: Any) -> str:
    """A value inside another, without brackets."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def region_lines(name: str, value: Any, prefix: str = "") -> list[Line]:
    """Regions as a dictionary or a bundle lists them: name, box, and the share of features that stay without it."""
    return [
        (
            name,
            f"{prefix}{entry.get('name')}: {' '.join(f'{edge:g}' for edge in entry.get('box', ()))}, "
            f"keeps {entry.get('kept')}",
        )
        for entry in value or ()
    ]


def megabytes(size_bytes: int) -> str:
    """Such as 6.9 MB."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e5 else f"{size_bytes / 1e3:.1f} KB"


def millions(number: int) -> str:
    """Such as 1.73 M, or 43.5 K."""
    if number < 1e5:
        return f"{number / 1e3:.1f} K"
    return f"{number / 1e6:.2f} M" if number < 1e8 else f"{number / 1e6:.0f} M"
