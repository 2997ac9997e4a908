"""What `gallery check` found, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Finding", "Report"]

State = Literal["ok", "note", "damaged"]
NOTHING = "nothing to do"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    """note: nothing is lost."""
    detail: str


@dataclass
class Report:
    """What `check` found."""

    gallery: str
    findings: list[Finding] = field(default_factory=list)
    templates: int = 0
    """That are whole."""
    people: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)
    """Damaged rows: `table`, `id`, `name` (None where it cannot be read), `why`."""

    @property
    def advice(self) -> str:
        """What to do."""
        damaged = {finding.what for finding in self.findings if finding.state == "damaged"}
        if not damaged:
            return NOTHING
        if damaged == {"index"}:
            return f"delete {self.gallery}.index: it is made anew"
        return (
            f"edgeface gallery restore BACKUP --gallery {self.gallery}, or, to keep what is whole, "
            f"edgeface gallery repair --gallery {self.gallery}"
        )

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return all(finding.state != "damaged" for finding in self.findings)

    def damage(self) -> str:
        """What is damaged, in one line."""
        return "; ".join(f"{one.what}: {one.detail}" for one in self.findings if one.state == "damaged")

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {**asdict(self), "sound": self.sound, "advice": self.advice}

    def add(self, what: str, state: State, detail: str) -> None:
        """One more finding."""
        self.findings.append(Finding(what, state, detail))
