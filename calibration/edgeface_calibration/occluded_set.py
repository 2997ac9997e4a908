"""An occluded copy of a tree of face pictures (Mask-LFW, Occ-LFW): pictures, masks, and how they were made.

    DST/images/<as in SRC>      the occluded pictures: pass this folder on as `--images`
    DST/masks/<as in SRC>.png   255 where covered, 0 elsewhere
    DST/images/landmarks.json   the pictures' landmarks, where SRC has them
    DST/manifest.json           settings, and for each picture what covers it and how much

Without landmarks SRC holds aligned 112x96 crops. A `landmarks.json` in its root (picture -> five points in its own
pixels) makes any size good: box crops, whole photographs; then every picture's own landmarks are used.

A picture's occluder follows from (seed, its path relative to SRC) alone: the same command writes the same files, in
any order, on any machine with the same OpenCV. Stopped half-way, the same command goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.landmarks import LANDMARKS_NAME, read_landmarks
from edgeface_calibration.occluders import (
    Occluded,
    check_alpha,
    check_size,
    kinds,
    needs_landmarks,
    occlude,
    sample_seed,
)
from edgeface_runtime.align import CROP_SIZE, TEMPLATE
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import PART_SUFFIX, write_bytes, write_json
from edgeface_runtime.image import list_images, read_image

__all__ = [
    "FORMAT",
    "VERSION",
    "OccludedSetReport",
    "SkippedPicture",
    "occluded_view",
    "write_occluded_set",
]

FORMAT, VERSION = "edgeface-occluded-set", 1

_QUALITY = 95
_SINCE: dict[str, Any] = {"alpha": 1.0, "landmarks": None}
"""Settings that manifests of older sets do not name, and what they were."""


@dataclass(frozen=True)
class SkippedPicture:
    """A picture that was not occluded."""

    name: str
    """Path relative to SRC."""
    reason: str


@dataclass(frozen=True)
class OccludedSetReport:
    """What `write_occluded_set` did."""

    images_dir: str
    pictures: int
    """Occluded pictures now in the set."""
    written: int
    """Of them written by this run; the others were there."""
    kinds: dict[str, int]
    """What covers them -> in how many."""
    mean_share: float
    """Mean covered share of the area, 0..1."""
    skipped: tuple[SkippedPicture, ...]
    """Pictures that could not be read or occluded."""

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


def occluded_view(
    image: NDArray[np.uint8],
    kind: str,
    seed: int,
    name: str,
    share: float | None = None,
    scale: float | None = None,
    templates: Path | None = None,
    *,
    landmarks: NDArray[np.floating] = TEMPLATE,
    alpha: float = 1.0,
) -> Occluded:
    """One face (H, W, 3) uint8 as it is in the occluded set of this seed, without writing it.

    An aligned 112x96 crop, or any size with its own landmarks (5, 2). `name` is the picture's path relative to its
    set, with forward slashes. In verification only the second picture of a pair is occluded.

    Raises:
        InputError: see `occlude`.
    """
    rng = np.random.default_rng(sample_seed(seed, name))
    return occlude(image, kind, rng, share=share, scale=scale, landmarks=landmarks, templates=templates, alpha=alpha)


def write_occluded_set(
    src: Path,
    dst: Path,
    kind: str,
    seed: int,
    share: float | None = None,
    scale: float | None = None,
    write_masks: bool = True,
    progress: Callable[[int, int], None] | None = None,
    templates: Path | None = None,
    *,
    alpha: float = 1.0,
    landmarks: Path | None = None,
) -> OccludedSetReport:
    """Write the occluded copy of all pictures below `src` (any depth) to `dst`.

    Aligned 112x96 crops, or pictures of any size with `landmarks`, a file like `landmarks.json`; None takes that of
    `src`, if there is one. JPEG is written at quality 95, other formats as they were; file names stay. `progress` is
    called with (done, all). A picture that cannot be read, has no landmarks where its kind needs them, or has one
    outside is skipped and named in the report and the manifest.

    Raises:
        InputError: `src` holds no picture or is an occluded set itself; `dst` lies in `src` or the other way round;
            `dst` holds a set made with other settings or foreign files; bad settings (see `occlude`); landmarks
            that cannot be read; or not one picture could be occluded (then nothing is written).
    """
    check_size(share, scale)
    check_alpha(alpha)
    if kind not in kinds(templates):
        raise InputError(f"unknown occluder {kind!r}: choose one of {', '.join(kinds(templates))}")
    _check_apart(src, dst)
    if _found_manifest(src):
        raise InputError(f"{src} is an occluded set, with masks among its pictures: give {src / 'images'}")
    paths = list_images(src, recursive=True)
    if not paths:
        raise InputError(f"no picture below {src}")
    if landmarks is None and (src / LANDMARKS_NAME).is_file():
        landmarks = src / LANDMARKS_NAME
    points = None if landmarks is None else read_landmarks(landmarks)
    faces = _Faces(points, points is not None and needs_landmarks(kind, templates))
    settings = {
        "kind": kind,
        "seed": seed,
        "share": share,
        "scale": scale,
        "alpha": alpha,
        "masks": write_masks,
        "templates": None if templates is None else str(templates.resolve()),
        "landmarks": None if landmarks is None else hashlib.sha256(landmarks.read_bytes()).hexdigest(),
        "source": str(src.resolve()),
    }
    begun = _claimed(dst, settings)

    entries: list[dict[str, Any]] = []
    skipped: list[SkippedPicture] = []
    written = 0
    for done, path in enumerate(paths, 1):
        name = path.relative_to(src).as_posix()
        try:
            image, own = faces.read(path, name)
            result = occluded_view(image, kind, seed, name, share, scale, templates, landmarks=own, alpha=alpha)
        except InputError as exc:
            skipped.append(SkippedPicture(name, str(exc)))
        else:
            if not begun:  # the settings are noted before the first picture
                _write_manifest(dst, settings, False, [], [])
                begun = True
            written += _write(dst, name, result, write_masks)
            entries.append({"name": name, "kind": result.kind, "share": round(result.share, 4)})
        if progress is not None:
            progress(done, len(paths))
    if not entries:
        raise InputError(f"none of the {len(paths)} pictures below {src} could be occluded: {skipped[0].reason}")
    if points is not None:
        kept = (entry["name"] for entry in entries)
        write_json(dst / "images" / LANDMARKS_NAME, {name: points[name].tolist() for name in kept if name in points})
    _write_manifest(dst, settings, True, entries, skipped)
    return OccludedSetReport(
        images_dir=str(dst / "images"),
        pictures=len(entries),
        written=written,
        kinds=dict(sorted(Counter(str(entry["kind"]) for entry in entries).items())),
        mean_share=float(np.mean([entry["share"] for entry in entries])),
        skipped=tuple(skipped),
    )


def _check_apart(src: Path, dst: Path) -> None:
    here, there = src.resolve(), dst.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise InputError(f"{dst} and {src} lie in one another: write the occluded set somewhere else")


@dataclass(frozen=True)
class _Faces:
    """Reads pictures with their landmarks."""

    points: Mapping[str, NDArray[np.float64]] | None
    """Of each picture; None where all are aligned."""
    needed: bool
    """Whether a picture without them cannot be occluded."""

    def read(self, path: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """A picture and its landmarks. Raises InputError: unreadable, not aligned, or without landmarks."""
        image = read_image(path)
        if self.points is not None:
            if self.needed and name not in self.points:
                raise InputError(f"{LANDMARKS_NAME} has no landmarks for it: add them or leave the picture out")
            return image, self.points.get(name, TEMPLATE)
        if image.shape[:2] != CROP_SIZE:
            raise InputError(
                f"{image.shape[1]}x{image.shape[0]} pixels, not an aligned 96x112 crop: align it with edgeface data "
                f"align, or put {LANDMARKS_NAME} beside the pictures"
            )
        return image, TEMPLATE


def _found_manifest(folder: Path) -> bool:
    """Whether there is the manifest of an occluded set."""
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


def _claimed(dst: Path, settings: dict[str, Any]) -> bool:
    """Make sure that `dst` is new, empty, or holds this very set; whether it does."""
    manifest = dst / "manifest.json"
    if manifest.is_file():
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise InputError(f"{manifest} is not readable: choose another folder or remove it") from exc
        if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
            raise InputError(
                f"{manifest} is no manifest of an occluded set (version {VERSION}): choose another folder"
            )
        before = {**_SINCE, **(found.get("settings") or {})}
        changed = [key for key, value in settings.items() if before.get(key) != value]
        if changed:
            was = ", ".join(f"{key} {before.get(key)}" for key in changed)
            raise InputError(f"{dst} holds a set made with {was}: choose another folder or remove it")
        return True
    killed = f".{manifest.name}{PART_SUFFIX}"  # a run that was, while it wrote its first file
    if dst.exists() and (not dst.is_dir() or any(entry.name != killed for entry in dst.iterdir())):
        raise InputError(f"{dst} is not an empty folder: choose another one")
    return False


def _write_manifest(
    dst: Path,
    settings: dict[str, Any],
    complete: bool,
    entries: list[dict[str, Any]],
    skipped: list[SkippedPicture],
) -> None:
    data = {
        "format": FORMAT,
        "version": VERSION,
        "complete": complete,
        "settings": settings,
        "skipped": [asdict(entry) for entry in skipped],
        "pictures": entries,
    }
    write_json(dst / "manifest.json", data)


def _write(dst: Path, name: str, result: Occluded, write_masks: bool) -> bool:
    """Write what is not there yet; True if anything was."""
    target, mask = dst / "images" / name, dst / "masks" / f"{name}.png"
    fresh = not target.is_file()
    if fresh:
        quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
        write_bytes(target, _encoded(target.suffix.lower(), result.image, quality))
    if write_masks and not mask.is_file():
        write_bytes(mask, _encoded(".png", result.mask.astype(np.uint8) * np.uint8(255), []))
        fresh = True
    return fresh


def _encoded(suffix: str, image: NDArray[np.uint8], parameters: list[int]) -> bytes:
    relevant = parameters[:2] if suffix in (".jpg", ".jpeg") else parameters[2:] if suffix == ".webp" else []
    done, data = cv2.imencode(suffix, image, relevant)
    assert done, suffix
    return bytes(data)
