"""The measured results a model carries, each with its protocol, as `edgeface evaluate --record` keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Results", "with_result"]

Results = tuple[dict[str, Any], ...]


def with_result(results: Iterable[Mapping[str, Any]], result: Mapping[str, Any]) -> Results:
    """`results` with one more; one of the same protocol is replaced."""
    kept = (dict(old) for old in results if old.get("protocol") != result.get("protocol"))
    return (*kept, dict(result))
