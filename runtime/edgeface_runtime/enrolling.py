"""What is asked before a face is enrolled: is its picture good enough, and is it there already under another name."""

from __future__ import annotations

from collections.abc import Sequence

from edgeface_runtime.errors import FaceError, InputError
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.gallery_results import checked_name, person_name
from edgeface_runtime.results import Duplicate, FaceResult, Threshold

__all__ = ["enrollable", "find_duplicates", "refuse_poor"]

STRANGER = "unknown"
"""What a face is called that matches nobody."""


def enrollable(name: str) -> str:
    """A name as the gallery keeps it, where somebody can be enrolled under it.

    Raises:
        InputError: empty, too long, not printable, or what a stranger is called.
    """
    spelt = checked_name(name)
    if spelt.lower() == STRANGER:
        raise InputError(f"cannot enrol the name {spelt!r}: it is what a face that matches nobody is called")
    return spelt


def refuse_poor(face: FaceResult, where: str) -> None:
    """Refuse a picture of poor quality.

    Raises:
        FaceError: one line with every reason.
    """
    if face.quality is not None and face.quality.poor:
        raise FaceError(
            f"the face in {where} is {', '.join(face.quality.reasons)}: use a better picture, or give --accept-poor"
        )


def find_duplicates(
    gallery: GalleryLike, name: str, faces: Sequence[FaceResult], limit: Threshold
) -> tuple[Duplicate, ...]:
    """The people of other names that faces about to be enrolled match, by their whole embeddings."""
    own = person_name(name)
    found = []
    for at, face in enumerate(faces):
        for candidate in gallery.search(face.embedding, 2):
            if candidate.name != own and candidate.score >= limit.value:
                found.append(Duplicate(at, candidate.name, candidate.score))
                break
    return tuple(found)
