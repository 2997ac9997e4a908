"""One line of a diagnosis: what was looked at, how it is, and the command that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["STATES", "Finding", "missing", "ok", "problem"]

STATES = ("ok", "missing", "problem")


@dataclass(frozen=True)
class Finding:
    """What one probe found."""

    part: str
    """What was looked at, such as `driver`."""
    state: str
    """ok, missing (not there, which may be right) or problem (there, and wrong)."""
    detail: str
    """In words."""
    mend: str = ""
    """A command; empty where nothing needs mending. On a line that is ok: what would make it faster."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same as data, for `--json` and for later probes."""
    group: str = ""
    """Heading it stands under."""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, not {self.state!r}")

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def ok(part: str, detail: str, mend: str = "", **facts: Any) -> Finding:
    """A finding that is as it should be."""
    return Finding(part, "ok", detail, mend, facts)


def missing(part: str, detail: str, mend: str = "", **facts: Any) -> Finding:
    """A finding of something that is not there."""
    return Finding(part, "missing", detail, mend, facts)


def problem(part: str, detail: str, mend: str = "", **facts: Any) -> Finding:
    """A finding of something that is there and does not work."""
    return Finding(part, "problem", detail, mend, facts)
