"""Face-mask pictures in MaskTheFace's layout: `masks.cfg` names each picture and six anchors on it.

    [surgical]                             sections with `_left` and `_right` are the same mask seen from the side:
    template: masks/templates/surgical.png they are worn by faces turned that way by more than 22 degrees
    mask_a: 21, 97                         a, b, c: upper rim at the cheek left in the picture, nose, right cheek
    mask_d: 25, 322                        d, e, f: left jaw, chin, right jaw

MaskTheFace takes the six places on the face from 68 landmarks; here they follow from five and a solid head. A
homography in least squares lays the picture on them, an affine map where that would fold it. The pictures are read
from the user's folder and never shipped.
"""

from __future__ import annotations

import configparser
import functools
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.head import MIDDLE, Pose, Row, head_pose
from edgeface_calibration.occluders.sprite import Sprite
from edgeface_calibration.occluders.templates import read_rgba
from edgeface_runtime.errors import InputError

__all__ = ["CONFIG", "MaskTemplate", "mask_templates", "wear_template"]

CONFIG = "masks.cfg"

Points = NDArray[np.float64]

_TURNED_DEG = 22.0
_SIDES = ("left", "right")
_LONGEST_PX = 384
_DENSITY = 2.5
_LEFT, _TOP, _WIDTH, _HEIGHT = -40.0, 20.0, 176.0, 124.0


@dataclass(frozen=True)
class MaskTemplate:
    """One picture of a mask."""

    path: Path
    anchors: tuple[tuple[float, float], ...]
    """a..f, pixels (x, y) of the picture; may lie outside it."""


@dataclass(frozen=True)
class MaskViews:
    """A mask from the front and, where there are such pictures, as worn by faces turned to either side."""

    front: MaskTemplate
    left: MaskTemplate | None
    right: MaskTemplate | None

    def facing(self, turn_deg: float) -> MaskTemplate:
        """The view for a face turned by so much, positive to the picture's right."""
        turned = self.left if turn_deg < -_TURNED_DEG else self.right if turn_deg > _TURNED_DEG else None
        return turned or self.front


def mask_templates(folder: Path) -> dict[str, MaskViews] | None:
    """The masks of a folder, sorted by name, or None where it has no `masks.cfg`.

    Raises:
        InputError: `masks.cfg` cannot be read, names no mask, or a mask lacks an anchor or its picture.
    """
    config = folder / CONFIG
    try:
        changed = config.stat().st_mtime_ns
    except OSError:
        return None
    return _parsed(folder.resolve(), changed)


@functools.lru_cache(maxsize=8)
def _parsed(folder: Path, _changed: int) -> dict[str, MaskViews]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as exc:
        reason = str(exc).splitlines()[0]
        raise InputError(f"{folder / CONFIG} is not readable as MaskTheFace's masks.cfg: {reason}") from exc
    found = {name: _template(folder, parser[name]) for name in parser.sections() if "template" in parser[name]}
    masks = {
        name: MaskViews(found[name], *(found.get(f"{name}_{side}") for side in _SIDES))
        for name in sorted(found)
        if not name.endswith(("_left", "_right"))
    }
    if not masks:
        raise InputError(f"{folder / CONFIG} names no mask: it needs sections with template and mask_a to mask_f")
    return masks


def _template(folder: Path, section: configparser.SectionProxy) -> MaskTemplate:
    anchors = []
    for letter in "abcdef":
        try:
            x, y = (float(part) for part in section[f"mask_{letter}"].split(","))
        except (KeyError, ValueError) as exc:
            where = f"{folder / CONFIG} [{section.name}]"
            raise InputError(f"{where} has no mask_{letter} of two numbers: give x, y in pixels") from exc
        anchors.append((x, y))
    named = PurePosixPath(section["template"].strip())
    places = [folder / named, folder.parent / named]
    places += [folder / "masks" / named.name, folder / "templates" / named.name, folder / named.name]
    for place in places:
        if place.is_file():
            return MaskTemplate(place, tuple(anchors))
    raise InputError(
        f"{folder / CONFIG} [{section.name}] names {named}, which is not there: copy it or drop the section"
    )


def wear_template(rng: np.random.Generator, views: MaskViews, points: Points) -> Sprite:
    """A mask laid on a face with landmarks `points` (5, 2) in the template's frame, give or take 2 pixels.

    Raises:
        ImageError: the picture cannot be read or has no transparency.
    """
    pose = head_pose((points - (_LEFT, _TOP)) * _DENSITY, exact=(2, 3, 4))
    view = views.facing(pose.turn_deg)
    bgr, alpha, reduced = _picture(view.path)
    targets = _places(pose) + rng.uniform(-2, 2, 2) * _DENSITY
    matrix = _lay(np.asarray(view.anchors) * reduced, targets)
    size = (int(_WIDTH * _DENSITY), int(_HEIGHT * _DENSITY))
    colour = cv2.warpPerspective(bgr, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    opacity = cv2.warpPerspective(alpha, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    x, y = 0.5 * (targets[1] + targets[4])
    return Sprite(
        np.asarray(colour, np.uint8), np.asarray(opacity, np.uint8), (float(x), float(y)), _DENSITY, (_LEFT, _TOP)
    )


def _places(pose: Pose) -> Points:
    """Where the anchors a..f (6, 2) belong on a head."""
    bridge, chin = pose.project(np.array([(MIDDLE, 58.5, 9), (MIDDLE, 119, 3)]))
    found = []
    for right in (False, True):
        cheek = pose.side(Row(69, 36, 6, 34), 80, right)
        jaw = pose.side(Row(99, 33, 7, 30), 76, right)
        # Never beyond the nose: seen from the side a mask still has two edges.
        for place in (cheek, jaw):
            place[0] = max(place[0], bridge[0] + 8) if right else min(place[0], bridge[0] - 8)
        found.append((cheek, jaw))
    (a, d), (c, f) = found
    return np.stack((a, bridge, c, d, chin, f))


def _lay(anchors: Points, targets: Points) -> NDArray[np.float64]:
    """The map (3, 3) from anchors to targets in least squares."""
    found, _ = cv2.findHomography(anchors, targets, 0)
    if found is not None:
        matrix = np.asarray(found, np.float64)
        weight = np.column_stack((anchors, np.ones(6))) @ matrix[2]
        if weight.min() > 0.4 and weight.max() < 2.5:
            return matrix
    affine = np.linalg.lstsq(np.column_stack((anchors, np.ones(6))), targets, rcond=None)[0].T
    return np.concatenate((affine, [[0.0, 0.0, 1.0]]))


@functools.lru_cache(maxsize=64)
def _picture(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], float]:
    """Colour, opacity with a clear border, and how much the picture was reduced."""
    bgr, alpha, reduced = read_rgba(path, _LONGEST_PX)
    alpha[[0, -1]] = 0
    alpha[:, [0, -1]] = 0
    return bgr, alpha, reduced
