"""Frozen dataclasses as JSON-ready data and back: JSON has lists where they have tuples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["arguments", "known_arguments", "plain"]


def plain(values: DataclassInstance) -> dict[str, Any]:
    """All fields, tuples as lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(values).items()}


def arguments(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a dataclass is made of again: lists as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


def known_arguments(kind: type[DataclassInstance], data: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what `kind` does not know, such as a newer version's fields."""
    known = {entry.name for entry in fields(kind)}
    return arguments({key: value for key, value in data.items() if key in known})
