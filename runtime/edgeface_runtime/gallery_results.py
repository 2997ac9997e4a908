"""What a gallery answers: people, candidates, what became of a deletion; and ranking templates held in memory."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import InputError

__all__ = [
    "Candidate",
    "Erasure",
    "GallerySource",
    "Person",
    "Ranked",
    "checked_name",
    "is_text",
    "person_name",
    "rank",
    "source_text",
]

Floats = npt.NDArray[np.float32]
MAX_NAME = 200


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


@dataclass(frozen=True)
class Ranked:
    """What a search found, or why there is nothing."""

    candidates: tuple[Candidate, ...]
    """Best first."""
    note: str = ""
    """Why the face was compared with nobody, in one line."""
    refused: str = ""
    """Where the gallery is why: what is wrong with it, and what to do."""


@dataclass(frozen=True)
class GallerySource:
    """Where a gallery's answers come from."""

    source: str
    """The file or the server, without what is secret in its address."""
    copy_of: str | None = None
    """The server whose copy answers, because it cannot be reached; None where the gallery itself does."""
    stale_since: str | None = None
    """When that copy was last brought up to date, ISO 8601; None where the gallery itself answers."""
    reason: str | None = None
    """Why the server cannot be reached, in one line."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def person_name(name: str) -> str:
    """A name as the gallery keeps it: without blanks around it, and one spelling (NFC) for what looks the same.

    Raises:
        InputError: it is no text.
    """
    if not isinstance(name, str):
        raise InputError(f"a person's name is a text, not {type(name).__name__}")
    return unicodedata.normalize("NFC", name.strip())


def checked_name(name: str) -> str:
    """`person_name`, where somebody can be enrolled under it.

    Raises:
        InputError: empty, too long, or not printable.
    """
    spelt = person_name(name)
    if not spelt or len(spelt) > MAX_NAME or not spelt.isprintable():
        raise InputError(f"cannot enrol the name {spelt[:40]!r}: give 1 to {MAX_NAME} printable characters")
    return spelt


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8; an argument or file name of other bytes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def source_text(source: str) -> str:
    """Where a template came from, as a gallery keeps it: bytes of a file's name that are no text as `\\udcNN`."""
    return source.encode(errors="backslashreplace").decode()


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
