"""What a manifest says of a dictionary model: the files of its parts, and the features they pass on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.manifest_reader import Reader

__all__ = ["DICTIONARY_KINDS", "DictionaryEntry"]

DICTIONARY_KINDS = ("grid", "lm1", "lm2", "lm2s", "lmface", "cell")
"""How the regions are laid out: a KxK grid; boxes on the landmarks; bands; bands split left and right; per face; the
feature cells themselves."""


@dataclass(frozen=True)
class DictionaryEntry:
    """The `dictionary` field of a manifest, as far as a device needs it; the rest of it is for people."""

    trunk: Mapping[str, str]
    """Precision -> file: input (N, 3, H, W) -> `features`."""
    head: Mapping[str, str]
    """Precision -> file: `features` -> `embedding`, unit rows."""
    segmenter: str
    """File: input (N, 3, H, W) -> `covered` (N, 1, H, W), probabilities."""
    masks: str
    """File of the mask dictionary, `.npz`."""
    features: tuple[int, int, int]
    """(C, h, w) of the features of one face."""

    @classmethod
    def from_dict(cls, data: Any, where: str) -> DictionaryEntry:
        """Read JSON data; `where` names the manifest in messages.

        Raises:
            ArtefactError: a part is missing, or a field is of the wrong kind.
        """
        if not isinstance(data, dict):
            raise ArtefactError(f"{where} is damaged: dictionary is missing: export the bundle again")
        outer = Reader(data, where)
        files = Reader(outer.get("files", dict), where)
        sizes = outer.rows("features", int)
        if len(sizes) != 3 or min(sizes) < 1:
            raise outer.fail("dictionary features", "three positive numbers (channels, height, width)")
        entry = cls(
            trunk=files.table("trunk", str),
            head=files.table("head", str),
            segmenter=files.get("segmenter", str),
            masks=files.get("dictionary", str),
            features=(sizes[0], sizes[1], sizes[2]),
        )
        if "fp32" not in entry.trunk or set(entry.trunk) != set(entry.head):
            raise outer.fail("dictionary files", "a trunk and a head at fp32")
        return entry

    def files(self) -> dict[str, Any]:
        """The `files` of the manifest's field, as JSON data."""
        return {
            "trunk": dict(self.trunk),
            "head": dict(self.head),
            "segmenter": self.segmenter,
            "dictionary": self.masks,
        }

    def names(self) -> tuple[str, ...]:
        """All files it names."""
        return (*self.trunk.values(), *self.head.values(), self.segmenter, self.masks)
