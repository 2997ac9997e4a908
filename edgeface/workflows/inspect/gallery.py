"""A gallery: how many people and templates, of which model."""

from __future__ import annotations

from pathlib import Path

from edgeface.workflows.inspect.description import Description, entries
from edgeface_runtime.gallery import Gallery

__all__ = ["describe_gallery"]


def describe_gallery(path: Path) -> Description:
    """Open a gallery. Raises as `Gallery` does."""
    with Gallery(path) as gallery:
        people = gallery.people()
        data = {
            "kind": "gallery",
            "model_id": gallery.model_id,
            "people": len(people),
            "templates": sum(person.templates for person in people),
            "features": None if gallery.features is None else list(gallery.features),
        }
    lines = [
        ("gallery", f"{data['people']} people, {data['templates']} templates"),
        ("model", f"{gallery.model_id}"),
        *(entries("features", " x ".join(map(str, gallery.features))) if gallery.features else ()),
    ]
    return Description(data, lines)
