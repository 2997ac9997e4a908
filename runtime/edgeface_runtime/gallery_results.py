"""What a gallery answers: people, candidates, what became of a deletion; and ranking templates held in memory."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import InputError

__all__ = ["Candidate", "Erasure", "Person", "person_name", "rank"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """One person of the gallery and how alike they are."""

    name: str
    """As enrolled."""
    score: float
    """Cosine of the probe and the person's best template, in [-1, 1]."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Person:
    """One enrolled person."""

    name: str
    """As enrolled."""
    templates: int
    """Number of templates."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Erasure:
    """What became of a deletion."""

    name: str
    """Who was deleted."""
    removed: int
    """Number of templates deleted; they are found no more, whatever `erased` says."""
    erased: bool
    """Whether the last copy has left the disk."""
    pending: str | None = None
    """Why not yet, in one line; the next opening, deletion or `finish_erasure` tries again."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def person_name(name: str) -> str:
    """A name as the gallery keeps it: without blanks around it, and one spelling (NFC) for what looks the same."""
    return unicodedata.normalize("NFC", name.strip())


def rank(names: Sequence[str], matrix: Floats, probe: Floats, top: int) -> list[Candidate]:
    """The `top` most alike people, best first.

    Args:
        names: sorted; a name once per template.
        matrix: (T, E) float32, unit rows.
        probe: (E,) float32, unit length.
        top: how many people, at least 1.
    """
    if top < 1:
        raise InputError(f"--top is {top}: give at least 1")
    if not names:
        return []
    scores = matrix @ probe
    # Names come sorted: the rows of one person are one run, and a run's best score is the person's.
    starts = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1])]
    best = np.maximum.reduceat(scores, starts)
    count = min(top, len(starts))
    chosen = np.argpartition(-best, count - 1)[:count]
    ordered = chosen[np.lexsort((chosen, -best[chosen]))]
    return [Candidate(names[starts[i]], float(np.clip(best[i], -1.0, 1.0))) for i in ordered]
