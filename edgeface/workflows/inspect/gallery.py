"""A gallery: how many people and templates, of which model, how it is encrypted. Needs no key."""

from __future__ import annotations

import contextlib
from pathlib import Path

from edgeface.workflows.inspect.description import Description, entries
from edgeface_runtime import gallery_store as store
from edgeface_runtime.gallery_encryption import describe_encryption

__all__ = ["describe_gallery"]


def describe_gallery(path: Path) -> Description:
    """Open a gallery. Raises as `Gallery` does."""
    with store.guarded(path), contextlib.closing(store.connect(path, None)) as connection:
        meta = store.read_meta(connection, path)
        features = store.feature_shape(meta, path)
        people, templates = connection.execute("SELECT COUNT(DISTINCT name), COUNT(*) FROM templates").fetchone()
    encrypted = describe_encryption(meta)
    data = {
        "kind": "gallery",
        "model_id": meta["model_id"],
        "people": people,
        "templates": templates,
        "features": None if features is None else list(features),
        "encrypted": encrypted,
    }
    lines = [
        ("gallery", f"{people} people, {templates} templates"),
        ("model", meta["model_id"]),
        *(entries("features", " x ".join(map(str, features))) if features else ()),
        ("encrypted", encrypted or "no"),
    ]
    return Description(data, lines)
