"""Onto what template a folder of crops was aligned, as far as `edgeface data align` left word of it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from edgeface.data.align_command import align_command
from edgeface.data.align_journal import MANIFEST
from edgeface.data.template import Points, same_template
from edgeface_calibration.landmarks import five_points
from edgeface_runtime.errors import InputError

__all__ = ["check_template"]


def check_template(picture: Path, size: tuple[int, int], template: Points) -> None:
    """Refuse a crop, `FOLDER/person/picture`, whose folder is known to be aligned onto another template.

    Raises:
        InputError: names the command that makes the right ones.
    """
    folder = picture.parent.parent
    found = _aligned_onto(folder)
    if found is not None and not same_template(found, template):
        raise InputError(
            f"{folder} was aligned onto another template than this network's: make its crops with "
            f"{align_command(size, 'PHOTOS CROPS', template)}"
        )


@functools.lru_cache(maxsize=64)
def _aligned_onto(folder: Path) -> Points | None:
    """The template in the list of a folder; None where there is no such list."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = five_points(data.get("template"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return None if found is None else tuple((float(x), float(y)) for x, y in found)
