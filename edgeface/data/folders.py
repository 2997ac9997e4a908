"""Identity folders: one folder of pictures per person, as LFW and CASIA-WebFace are laid out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.image import IMAGE_SUFFIXES

__all__ = ["FaceFolder", "Skipped", "scan", "unusable"]

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF")


@dataclass(frozen=True)
class Skipped:
    """A picture that is left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FaceFolder:
    """Pictures of people, labelled by their folder."""

    root: Path
    identities: tuple[str, ...]
    """Folder names, sorted; a label is an index into them. Every one has at least one picture."""
    samples: tuple[tuple[Path, int], ...]
    """Picture and label, sorted by identity, then by name."""
    skipped: tuple[Skipped, ...] = ()
    """Pictures that were there but cannot be used."""

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 over the names and sizes of all samples: changes when the data set does."""
        digest = hashlib.sha256()
        for path, _ in self.samples:
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{path.stat().st_size}\n".encode())
        return digest.hexdigest()

    @property
    def name(self) -> str:
        """In words: what and how much."""
        return f"{self.root.resolve().name}: {len(self.identities)} people, {len(self.samples)} faces"

    def without(self, unusable: Collection[Skipped]) -> FaceFolder:
        """The same folder less some pictures; people without any left lose their label.

        Raises:
            InputError: fewer than two people remain.
        """
        gone = {entry.path for entry in unusable}
        kept: dict[str, list[Path]] = {}
        for path, label in self.samples:
            if path not in gone:
                kept.setdefault(self.identities[label], []).append(path)
        return _build(self.root, kept, (*self.skipped, *unusable))


def scan(path: Path) -> FaceFolder:
    """List an identity folder. Only names and the first bytes are read; decoding finds the rest that is damaged.

    A person's pictures may lie in folders below theirs. Hidden files and files that are no pictures by their suffix
    are passed over; empty files and such whose content is no picture are skipped and listed.

    Raises:
        InputError: `path` is missing or no folder, holds no usable picture, or has one identity only.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder" if path.exists() else f"data folder not found: {path}")
    found: dict[str, list[Path]] = {}
    skipped: list[Skipped] = []
    for person in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        for picture in sorted(person.rglob("*")):
            if picture.suffix.lower() not in IMAGE_SUFFIXES or picture.name.startswith(".") or picture.is_dir():
                continue
            reason = unusable(picture)
            if reason:
                skipped.append(Skipped(picture, reason))
            else:
                found.setdefault(person.name, []).append(picture)
    if not found and not skipped and any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in path.iterdir()):
        raise InputError(f"{path} holds pictures but no folders: give every person a folder of their own")
    return _build(path, found, tuple(skipped))


def _build(root: Path, found: dict[str, list[Path]], skipped: tuple[Skipped, ...]) -> FaceFolder:
    note = f" ({len(skipped)} unusable, first {skipped[0].path}: {skipped[0].reason})" if skipped else ""
    if not found:
        raise InputError(f"{root} holds no pictures of people: expected one folder per person{note}")
    if len(found) < 2:
        raise InputError(f"{root} has one identity only ({next(iter(found))}): two people or more are needed{note}")
    names = tuple(sorted(found))
    samples = tuple((picture, label) for label, name in enumerate(names) for picture in found[name])
    return FaceFolder(root, names, samples, skipped)


def unusable(picture: Path) -> str | None:
    """Why a file cannot be a picture, from its first bytes; None if it may be one."""
    try:
        with picture.open("rb") as stream:
            head = stream.read(16)
    except OSError as exc:
        return f"cannot be read ({exc.strerror or exc})"
    if not head:
        return "empty file"
    return None if head.startswith(_SIGNATURES) else "not a picture in spite of its name"
