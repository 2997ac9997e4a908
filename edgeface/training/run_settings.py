"""What the settings of every kind of training can do: become data, come back, and be compared on --resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from edgeface.models.plain import arguments, plain

__all__ = ["RunSettings", "differing"]

Kind = TypeVar("Kind", bound="RunSettings")


@dataclass(frozen=True)
class RunSettings:
    """Base of frozen dataclasses."""

    FREE: ClassVar[tuple[str, ...]] = ("device", "threads", "workers", "memory_mib", "log_every")
    """Not part of what a run is: may differ on --resume."""
    FLAGS: ClassVar[Mapping[str, str]] = {}
    """Settings whose flag has another name."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return plain(self)

    @classmethod
    def from_dict(cls: type[Kind], data: Mapping[str, Any]) -> Kind:
        """Inverse of `to_dict`; what is left out has its default.

        Raises:
            TypeError, ValueError: it holds what this version does not know.
        """
        return cls(**arguments(data))

    def differences(self: Kind, other: Kind) -> list[str]:
        """What makes `other` another run: one 'flag ours, now theirs' each."""
        names = [entry.name for entry in fields(self) if entry.name not in self.FREE]
        return differing(names, vars(self), vars(other), self.FLAGS)


def differing(
    names: Iterable[str], ours: Mapping[str, Any], theirs: Mapping[str, Any], flags: Mapping[str, str]
) -> list[str]:
    """One 'flag ours, now theirs' for every setting that differs; `flags` has the flags with another name."""
    return [
        f"{flags.get(name, '--' + name.replace('_', '-'))} {ours.get(name)}, now {theirs.get(name)}"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
