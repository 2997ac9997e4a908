"""Procedural faces: drawn people for demos and tests, where no photographs may or can be had.

Identities differ in the shape and colour of everything a drawn face has; pictures of one identity differ in light,
expression, small turns of the head, background and noise. They are no evidence of accuracy on real faces.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.synthetic_paint import paint
from edgeface.data.synthetic_person import draw_person, draw_shot
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import PART_SUFFIX, write_bytes, write_json

__all__ = ["synth_face", "write_synthetic"]

UNFINISHED = ".synthetic.json"
"""The numbers of a folder that is not all drawn yet; gone from a whole one."""

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def synth_face(identity: int, sample: int, seed: int = 0) -> NDArray[np.uint8]:
    """One aligned face: (112, 96, 3) uint8 BGR, its landmarks on the template (within about 2 pixels).

    The same three numbers give the same picture on every machine with the same numpy and OpenCV. Other seeds give
    other people. None of the numbers may be negative.
    """
    person = draw_person(np.random.default_rng([seed, 1, identity]))
    shot = draw_shot(np.random.default_rng([seed, 2, identity, sample]))
    return paint(person, shot)


def write_synthetic(
    folder: Path, identities: int, per_identity: int, seed: int = 0, progress: Progress | None = None
) -> int:
    """Write `identities` folders (`person_000` ...) of `per_identity` PNG pictures each, named as LFW's are.

    Stopped half-way, the same call goes on where it was. Returns how many pictures.

    Raises:
        InputError: a count below 1, or `folder` holds something else already.
    """
    if min(identities, per_identity) < 1:
        raise InputError(f"need at least one identity and one picture of each, got {identities} and {per_identity}")
    numbers = {"people": identities, "per_person": per_identity, "seed": seed}
    _claim(folder, numbers)
    write_json(folder / UNFINISHED, numbers)
    total, digits = identities * per_identity, max(3, len(str(identities - 1)))
    for identity in range(identities):
        name = f"person_{identity:0{digits}d}"
        for sample in range(per_identity):
            path = folder / name / f"{name}_{sample + 1:04d}.png"
            if not path.is_file():
                write_bytes(path, cv2.imencode(".png", synth_face(identity, sample, seed))[1].tobytes())
            if progress is not None:
                progress(identity * per_identity + sample + 1, total)
    (folder / UNFINISHED).unlink()
    return total


def _claim(folder: Path, numbers: dict[str, int]) -> None:
    """Make sure that `folder` is new, empty, or a stopped run's of the same numbers."""
    try:
        begun = json.loads((folder / UNFINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        killed = f".{UNFINISHED}{PART_SUFFIX}"  # a run that was, while it wrote its first file
        if folder.exists() and (not folder.is_dir() or any(entry.name != killed for entry in folder.iterdir())):
            raise InputError(f"{folder} is not an empty folder: name another one for the synthetic faces") from None
        return
    if begun != numbers:
        was = ", ".join(f"{name} {value}" for name, value in begun.items()) if isinstance(begun, dict) else begun
        raise InputError(f"{folder} holds unfinished faces of other numbers ({was}): give those, or remove it")
