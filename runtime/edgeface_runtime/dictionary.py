"""The mask dictionary of PDSN (Song et al. 2019): per region of the face, the features that a cover there damages.

The dictionary items of all covered regions are multiplied to the feature discarding mask (FDM), which is applied to
the trunk features of probe and gallery alike before the head. In PDSN a discarded feature becomes zero, a value that
says something to the head; here it may become its mean over clean faces, which says nothing of anybody. The file is
one `.npz` without pickled objects.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.dictionary_entry import DICTIONARY_KINDS
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import atomic_path, require_file
from edgeface_runtime.regions import Region, covered_regions, face_regions

__all__ = ["DICTIONARY_KINDS", "DISCARDED", "MaskDictionary", "load_dictionary"]

FORMAT = "edgeface-dictionary"
VERSION = 2
DISCARDED = ("mean", "zero")
"""What a discarded feature becomes: its mean over clean faces, or zero as in PDSN."""

LARGEST_BYTES = 512 << 20
"""A file that would unpack to more is refused."""


@dataclass(frozen=True)
class MaskDictionary:
    """Regions of the face and the features to keep when each of them is covered."""

    kind: str
    """One of DICTIONARY_KINDS."""
    regions: tuple[Region, ...]
    """For a per-face dictionary, those of the mean face of the training data."""
    masks: NDArray[np.bool_]
    """(regions, C, h, w), True = keep, over the trunk's top map."""
    input_size: tuple[int, int]
    """Height and width of the crops, pixels."""
    per_face: bool = False
    """Whether the regions are placed on each face's own landmarks."""
    mean: NDArray[np.float16] | None = None
    """(C, h, w) the trunk's features of clean faces on average; None: not known."""
    discarded: str = "zero"
    """One of DISCARDED; `mean` needs the mean."""
    extra: dict[str, Any] = field(default_factory=dict)
    """JSON-ready: how it was made (percentile, network, data, landmark statistics)."""

    def __post_init__(self) -> None:
        if self.kind not in DICTIONARY_KINDS:
            raise ValueError(f"unknown dictionary kind {self.kind!r}: choose one of {', '.join(DICTIONARY_KINDS)}")
        if self.masks.ndim != 4 or self.masks.dtype != np.bool_ or not self.masks.size:
            raise ValueError(f"masks must be (regions, C, h, w) bool, got {self.masks.shape} {self.masks.dtype}")
        if len(self.regions) != len(self.masks):
            raise ValueError(f"{len(self.regions)} regions but {len(self.masks)} masks")
        if len({region.name for region in self.regions}) != len(self.regions):
            raise ValueError("two regions have one name")
        if self.per_face != (self.kind == "lmface"):
            raise ValueError("lmface, and no other kind, is placed per face")
        if self.discarded not in DISCARDED:
            raise ValueError(f"unknown --discarded {self.discarded!r}: choose one of {', '.join(DISCARDED)}")
        if self.mean is None:
            if self.discarded == "mean":
                raise ValueError("--discarded mean needs a dictionary that keeps the features' mean")
        elif self.mean.shape != self.masks.shape[1:] or not np.isfinite(self.mean).all():
            raise ValueError(f"the features' mean must be finite and {self.masks.shape[1:]}, got {self.mean.shape}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions, in order."""
        return tuple(region.name for region in self.regions)

    @property
    def cell(self) -> tuple[float, float]:
        """Height and width of a feature cell, pixels of the crop."""
        return self.input_size[0] / self.masks.shape[2], self.input_size[1] / self.masks.shape[3]

    def regions_for(self, landmarks: ArrayLike | None = None) -> tuple[Region, ...]:
        """The regions on one face.

        Args:
            landmarks: (5, 2) pixels (x, y) of the crop. Only a per-face dictionary looks at them; without them it
                gives the regions of the mean face (on aligned crops all faces lie there).

        Raises:
            InputError: as `edgeface_runtime.regions.face_regions`.
        """
        if not self.per_face or landmarks is None:
            return self.regions
        return face_regions(landmarks, self.cell)

    def covered(self, mask: NDArray[np.bool_], landmarks: ArrayLike | None = None) -> tuple[bool, ...]:
        """Which regions a segmentation (H, W) bool of the crop covers by more than half.

        Raises:
            InputError: the mask is not of the crop's size, or as `regions_for`.
        """
        if mask.shape != self.input_size:
            raise InputError(f"a covered mask must be {self.input_size}, the crop's size, got {mask.shape}")
        return covered_regions(mask, self.regions_for(landmarks))

    def fdm(self, covered: Sequence[bool]) -> NDArray[np.bool_]:
        """The feature discarding mask (C, h, w) bool, True = keep: the product of the covered regions' masks.

        Nothing covered: all True.

        Raises:
            InputError: there is not one value per region.
        """
        if len(covered) != len(self.regions):
            raise InputError(f"the dictionary has {len(self.regions)} regions, got {len(covered)} values")
        chosen = self.masks[np.asarray(covered, np.bool_)]
        return np.asarray(chosen.all(axis=0), np.bool_)

    def discard(self, features: NDArray[np.floating[Any]], fdm: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Features (N, C, h, w), those that `fdm` (C, h, w) does not keep replaced as `discarded` says."""
        other = self.mean if self.discarded == "mean" and self.mean is not None else np.float16(0)
        return np.asarray(np.where(fdm, features, other), np.float32)

    def save(self, path: Path) -> None:
        """Write the dictionary to `path` atomically.

        Raises:
            InputError: it cannot be written.
        """
        header = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "regions": [{"name": region.name, "box": list(region.box)} for region in self.regions],
            "input_size": list(self.input_size),
            "per_face": self.per_face,
            "discarded": self.discarded,
            "extra": self.extra,
            "shape": list(self.masks.shape),
        }
        text = np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), np.uint8)
        arrays: dict[str, Any] = {"header": text, "masks": np.packbits(self.masks.reshape(-1))}
        if self.mean is not None:
            arrays["mean"] = self.mean
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)


def load_dictionary(path: Path) -> MaskDictionary:
    """Read a dictionary.

    Raises:
        InputError: the file is missing.
        ArtefactError: it is damaged, foreign or too new.
    """
    require_file(path, "mask dictionary")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
                raise ArtefactError(f"{path} is too large for a mask dictionary")
        with np.load(path, allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes().decode())
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ArtefactError(f"{path} is an .npz file but no edgeface mask dictionary")
            if header.get("version") != VERSION:
                raise ArtefactError(
                    f"{path} has dictionary version {header.get('version')}, not {VERSION}: upgrade edgeface"
                )
            return _from_header(header, arrays["masks"], arrays.get("mean"))
    except ArtefactError:
        raise
    except KeyError as exc:
        raise ArtefactError(f"{path} is no edgeface mask dictionary, or a damaged one ({exc} is missing)") from exc
    except Exception as exc:  # zip, zlib, numpy and json each have errors of their own for a damaged file
        raise ArtefactError(f"{path} is no readable mask dictionary: damaged or foreign ({exc})") from exc


def _from_header(
    header: dict[str, Any], packed: NDArray[np.uint8], mean: NDArray[np.float16] | None
) -> MaskDictionary:
    shape = tuple(int(side) for side in header["shape"])
    count = int(np.prod(shape, dtype=np.int64))
    if packed.dtype != np.uint8 or packed.ndim != 1 or packed.size != -(-count // 8) or len(shape) != 4 or count < 1:
        raise ValueError("the masks do not have the size the header says")
    if mean is not None and mean.dtype != np.float16:
        raise ValueError("the features' mean is not of half precision")
    regions = []
    for entry in header["regions"]:
        x1, y1, x2, y2 = (float(value) for value in entry["box"])
        if not np.isfinite([x1, y1, x2, y2]).all():
            raise ValueError("a region's box is not finite")
        regions.append(Region(str(entry["name"]), (x1, y1, x2, y2)))
    height, width = (int(side) for side in header["input_size"])
    return MaskDictionary(
        kind=str(header["kind"]),
        regions=tuple(regions),
        masks=np.unpackbits(packed, count=count).astype(np.bool_).reshape(shape),
        input_size=(height, width),
        per_face=bool(header["per_face"]),
        mean=mean,
        discarded=str(header["discarded"]),
        extra=dict(header["extra"]),
    )
