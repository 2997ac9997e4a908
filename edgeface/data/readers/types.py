"""What every reader gives: samples with their identity, role and condition, and a list of all that was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.data.folders import FaceFolder
from edgeface.data.folders import Skipped as SkippedFile
from edgeface.data.recordio import RecordFile
from edgeface_calibration.pairs import Pair
from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import decode_image

__all__ = [
    "CLEAN",
    "DISTRACTOR",
    "GALLERY",
    "MASK",
    "PROBE",
    "TEST",
    "TRAIN",
    "UNKNOWN",
    "FaceSet",
    "Format",
    "Sample",
    "Skipped",
]

TRAIN, TEST, PROBE, GALLERY, DISTRACTOR = "train", "test", "probe", "gallery", "distractor"
"""Roles; an empty one where the data set gives none."""

CLEAN, MASK, UNKNOWN = "clean", "mask", ""
"""Conditions that several readers share; readers name others: sunglasses, scarf."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of one person."""

    identity: str
    """Who; a name fit for a folder."""
    name: str
    """The picture's name, unlike any other of this person and role, with its suffix."""
    source: Path
    """The picture's file, or the record file."""
    key: int | None = None
    """The record's key in a record file."""
    role: str = ""
    """train, test, probe, gallery, distractor, or empty."""
    condition: str = UNKNOWN
    """What covers the face: clean, mask, sunglasses, scarf; empty where the data set does not say."""
    note: str = ""
    """What else the data set says, in words, such as `smile, session 2`."""


@dataclass(frozen=True)
class Skipped:
    """Something that was there, or was named, and is left out."""

    name: str
    """Path within the data set, record, or line."""
    reason: str
    """One line."""


@dataclass(frozen=True, eq=False)
class FaceSet(Closing):
    """A data set as published, opened in place. A context manager where it holds a record file."""

    root: Path
    format: str
    """The reader's name."""
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()
    """Pictures, records and lines that cannot be used, with the reason."""
    notes: tuple[str, ...] = ()
    """What else deserves to be known, one line each."""
    crop_size: tuple[int, int] | None = None
    """Height and width where the pictures are crops aligned on the usual five points, else None: photographs."""
    pairs: tuple[Pair, ...] = ()
    """Verification pairs the data set comes with."""
    records: RecordFile | None = field(default=None, repr=False)

    def close(self) -> None:
        """Close the record file, if there is one."""
        if self.records is not None:
            self.records.close()

    @property
    def identities(self) -> tuple[str, ...]:
        """Everybody with a sample, sorted."""
        return tuple(sorted({sample.identity for sample in self.samples}))

    @property
    def roles(self) -> dict[str, int]:
        """Role -> samples."""
        return dict(sorted(Counter(sample.role for sample in self.samples).items()))

    @property
    def conditions(self) -> dict[str, int]:
        """Condition -> samples."""
        return dict(sorted(Counter(sample.condition for sample in self.samples).items()))

    def read(self, sample: Sample) -> bytes:
        """The bytes of a sample's picture file.

        Raises:
            InputError: it cannot be read; `RecordError` for a damaged record.
        """
        if sample.key is not None:
            assert self.records is not None
            return self.records.read(sample.key).data
        try:
            return sample.source.read_bytes()
        except OSError as exc:
            raise ImageError(f"cannot read {sample.source}: {exc.strerror or exc}") from exc

    def image(self, sample: Sample) -> NDArray[np.uint8]:
        """A sample's picture, (H, W, 3) uint8 BGR.

        Raises:
            InputError: it cannot be read or decoded.
        """
        return decode_image(self.read(sample), sample.name if sample.key is not None else sample.source)

    def as_folder(self, roles: Sequence[str] | None = None) -> FaceFolder:
        """The samples of these roles (None: all) as an identity folder in place, for what reads such folders.

        Raises:
            InputError: pictures in a record file, fewer than two people.
        """
        if self.records is not None:
            raise InputError(f"{self.root} holds records, not pictures: edgeface data import {self.root} FACES")
        chosen = [sample for sample in self.samples if roles is None or sample.role in roles]
        names = tuple(sorted({sample.identity for sample in chosen}))
        if len(names) < 2:
            raise InputError(f"{self.root} has {len(names)} people in {', '.join(roles or ['all roles'])}: needs two")
        labels = {name: label for label, name in enumerate(names)}
        ordered = sorted((labels[sample.identity], sample.source) for sample in chosen)
        skipped = tuple(SkippedFile(self.root / entry.name, entry.reason) for entry in self.skipped)
        return FaceFolder(self.root, names, tuple((path, label) for label, path in ordered), skipped)

    def to_dict(self) -> dict[str, Any]:
        """In numbers, as JSON data."""
        return {
            "root": str(self.root),
            "format": self.format,
            "people": len(self.identities),
            "pictures": len(self.samples),
            "roles": self.roles,
            "conditions": self.conditions,
            "pairs": len(self.pairs),
            "aligned": list(self.crop_size) if self.crop_size else None,
            "skipped": [{"name": entry.name, "reason": entry.reason} for entry in self.skipped],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Format:
    """A published layout."""

    name: str
    layout: str
    """How it is told, in words."""
    matches: Callable[[Path], bool]
    """Whether a file or folder is laid out so; looks at few files."""
    open: Callable[[Path], FaceSet]
    """Read it.

    Raises:
        InputError: it is not laid out so, or holds no usable picture.
    """
