"""Opening a gallery, wherever it is: a file, or an address on a server with or without a local copy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery_like import GalleryLike

if TYPE_CHECKING:
    from edgeface_runtime.gallery import Gallery, GalleryKey

__all__ = ["as_file", "is_server", "open_gallery"]


def is_server(spec: str | Path) -> bool:
    """Whether a gallery is named by an address, such as `milvus://host:19530/name`, and not by a file."""
    return re.match("[A-Za-z][A-Za-z0-9+.-]+:/", str(spec)) is not None


def as_file(gallery: GalleryLike, what: str) -> Gallery:
    """The gallery, where it is a file of its own; else InputError with `what` as its beginning."""
    from edgeface_runtime.gallery import Gallery

    if not isinstance(gallery, Gallery):
        raise InputError(f"{what}, and {gallery.place} is on a server")
    return gallery


def open_gallery(
    spec: str | Path,
    model_id: str | None = None,
    embedding_size: int | None = None,
    create: bool = False,
    features: tuple[int, int, int] | None = None,
    *,
    cache: str | Path | None = None,
    key: GalleryKey | None = None,
) -> GalleryLike:
    """Open a gallery.

    Args:
        spec: a file, or `milvus://host:19530/name` (see milvus_address.py).
        model_id: the bundle's `model_id`; a gallery of another model is refused. None opens any (to list or delete).
        embedding_size: length of an embedding; needed to make a new gallery.
        create: make the gallery if it is missing; needs `model_id` and `embedding_size`.
        features: (C, h, w) of a dictionary model's features; a gallery that keeps none, or others, is refused.
        cache: file of a copy of a gallery on a server, which answers while that cannot be reached.
        key: opens an encrypted file, and makes a new one encrypted; a gallery on a server takes none.

    Raises:
        InputError: missing or not writable, not an address, not opened by the key, or a copy of a file is asked for.
        ArtefactError: no gallery, damaged, too new, of another model, or without the features asked for.
        ServerError: its server cannot be reached, and there is no copy.
        MissingExtraError: the server's client is not installed.
    """
    if not is_server(spec):
        if cache is not None:
            raise InputError(f"--cache keeps a copy of a gallery on a server, {spec} is a file: leave it out")
        from edgeface_runtime.gallery import Gallery

        return Gallery(spec, model_id, embedding_size, create, features, key=key)
    if key is not None:
        raise InputError(
            f"{spec}: a gallery on a server is not encrypted by edgeface: leave the key out, and unset it"
        )
    from edgeface_runtime.milvus_address import parse_address

    address = parse_address(spec)
    if cache is None:
        from edgeface_runtime.milvus_gallery import MilvusGallery

        return MilvusGallery(address, model_id, embedding_size, create, features)
    from edgeface_runtime.gallery_fleet import FleetGallery

    return FleetGallery(address, Path(cache), model_id, embedding_size, create, features)
