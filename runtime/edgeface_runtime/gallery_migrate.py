"""`gallery migrate`: a new gallery for another model, enrolled from the crops that were kept; the old one stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.gallery import Gallery, GalleryKey
from edgeface_runtime.gallery_crop_files import crop_spec, load
from edgeface_runtime.gallery_crops import Crop, KeptCrop, folder_of, said_folder
from edgeface_runtime.gallery_files import one_file
from edgeface_runtime.gallery_open import as_file
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.results import Embeddings

__all__ = ["LeftOut", "Migrated", "migrate"]

BATCH = 32

Progress = Callable[[int, int], None]
Usable = list[tuple[KeptCrop, Crop, Path]]


@dataclass(frozen=True)
class LeftOut:
    """A template that was not migrated."""

    name: str
    why: str


@dataclass(frozen=True)
class Migrated:
    """What `migrate` did."""

    gallery: str
    """The new one."""
    model_id: str
    people: int
    templates: int
    left_out: tuple[LeftOut, ...]
    """Templates of the old gallery that are not in the new one."""
    missing: tuple[str, ...]
    """People of the old gallery who have no template in the new one."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def migrate(
    old: Gallery,
    recognizer: Recognizer,
    out: Path,
    crops: Path | None = None,
    key: GalleryKey | None = None,
    progress: Progress | None = None,
) -> Migrated:
    """Enrol everybody of a gallery anew, by another model.

    Args:
        old: open; not changed.
        recognizer: the new model's.
        out: the new gallery, made whole or not at all. It refers to the same crops.
        crops: the folder they lie in now; None: where they were kept.
        key: encrypts the new gallery; None leaves it plain.
        progress: called with the crops done and all of them.

    Raises:
        InputError: `out` exists, or no crop can be used.
        ArtefactError: the old gallery is damaged.
    """
    if os.path.lexists(out):
        raise InputError(f"{out} exists: give another name for the new gallery")
    kept = old.kept_crops()
    if not any(one.crop for one in kept):
        raise InputError(f"gallery {old.path} has no kept crops: enrol again; enroll --keep-crops keeps them")
    spec = crop_spec(recognizer.bundle.manifest)
    usable, left = _usable(old.path, kept, spec, crops, out)
    if not usable:
        raise InputError(f"no crop of gallery {old.path} can be used ({left[0].why}): enrol again")
    with (
        one_file(out, old.path.stat().st_mode & 0o777) as temporary,
        as_file(recognizer.open_gallery(temporary, create=True, key=key), "a gallery is made anew") as new,
    ):
        for start in range(0, len(usable), BATCH):
            _enrol(new, recognizer, usable[start : start + BATCH])
            if progress is not None:
                progress(min(start + BATCH, len(usable)), len(usable))
        pending = new.finish_erasure()  # which writes the log back
        if pending is not None:
            raise InputError(f"cannot write {out}: {pending}")
    names = {one.name for one, _, _ in usable}
    missing = sorted({one.name for one in kept} - names)
    return Migrated(str(out), recognizer.bundle.model_id, len(names), len(usable), tuple(left), tuple(missing))


def _usable(
    gallery: Path, kept: list[KeptCrop], spec: str, folder: Path | None, out: Path
) -> tuple[Usable, list[LeftOut]]:
    """The crops that are there, whole and of the new model's cut; and what is left out, with the reason."""
    usable: Usable = []
    left = []
    for one in kept:
        if one.crop is None:
            left.append(LeftOut(one.name, "no crop was kept"))
            continue
        path = (folder_of(gallery, one.crop.folder) if folder is None else folder) / one.crop.file
        try:
            if one.crop.spec != spec:
                raise ImageError(f"crops are {one.crop.spec}, the new model wants {spec}")
            load(path, one.crop.sha256)
            usable.append((one, replace(one.crop, folder=said_folder(out, path.parent)), path))
        except ImageError as exc:
            left.append(LeftOut(one.name, str(exc)))
    return usable, left


def _enrol(new: Gallery, recognizer: Recognizer, batch: Usable) -> None:
    found: Embeddings = recognizer.embed(np.stack([load(path, crop.sha256) for _, crop, path in batch]))
    new.enroll_batch(
        [one.name for one, _, _ in batch],
        found.vectors,
        [one.source for one, _, _ in batch],
        None if found.features is None else list(found.features),
        [crop for _, crop, _ in batch],
    )
