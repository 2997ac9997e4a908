"""The demo's photographs for the default model: an enrolled face, clean and with a mask drawn on; a stranger's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import FaceError, MissingExtraError
from edgeface_runtime.files import write_bytes
from edgeface_runtime.image import read_image

if TYPE_CHECKING:
    from edgeface_runtime.results import ImageResult

__all__ = ["PhotoResult", "Probe", "recognise_photos"]

Pixels = NDArray[np.uint8]
NAME = "astronaut"
HEIGHT = 512
"""Of the photographs, in pixels."""
GREEN, RED, WHITE = (60, 170, 60), (60, 60, 200), (255, 255, 255)


@dataclass(frozen=True)
class Probe:
    """One changed copy of the photograph."""

    words: str
    """What became of it, in a few words."""
    result: dict[str, Any]
    """As `edgeface identify --json` gives it."""


@dataclass(frozen=True)
class PhotoResult:
    """What became of the photographs."""

    picture: Path
    """The annotated pictures side by side."""
    gallery: Path
    people: int
    """In the gallery."""
    threshold: float
    """The bundle's own."""
    threshold_source: str
    probes: dict[str, Probe]


def recognise_photos(crops: Path, out: Path) -> PhotoResult:
    """Enrol the people of `crops` and one photograph with the default model, then identify changed copies of it and
    the photograph of somebody who is not enrolled.

    Args:
        crops: identity folders of aligned faces: the others of the gallery.
        out: folder for the pictures and the gallery.

    Raises:
        MissingExtraError: scikit-image or matplotlib, which carry the photographs, are not installed.
        FaceError: the detector does not find a face.
    """
    from edgeface.data.folders import scan
    from edgeface_runtime.recognizer import Recognizer
    from edgeface_runtime.shipped import SHIPPED

    out.mkdir(parents=True, exist_ok=True)
    known, stranger = _photographs()
    folder, path = scan(crops), out / "gallery.db"
    for old in out.glob("gallery.db*"):
        old.unlink()
    with (
        Recognizer.from_bundle(SHIPPED, threads=1) as recognizer,
        recognizer.open_gallery(path, create=True) as gallery,
    ):
        first = {label: picture for picture, label in reversed(folder.samples)}
        for label, picture in first.items():
            vector = recognizer.embed(read_image(picture)[None]).vectors[0]
            gallery.enroll(folder.identities[label], vector, picture.name)
        recognizer.enroll(gallery, NAME, [known], largest=True)
        people = len(gallery.people())
        limit = recognizer.threshold(None)
        changed = _changed(known)
        shots = {
            "clean": (changed, f"{NAME}: mirrored, turned, darkened"),
            "masked": (_masked(changed, recognizer.analyse), f"{NAME}: the same, masked"),
            "stranger": (stranger, "not enrolled"),
            "stranger masked": (_masked(stranger, recognizer.analyse), "not enrolled, masked"),
        }
        probes, panels = {}, []
        for name, (probe, title) in shots.items():
            file = f"{name.replace(' ', '_')}.png"
            write_bytes(out / file, _encoded(probe))
            result = recognizer.identify(probe, gallery, 3)
            probes[name] = Probe(_words(result), {**result.to_dict(), "source": file})
            panels.append(_annotated(probe, title, result))
    shown = out / "recognition.png"
    write_bytes(shown, _encoded(np.hstack(panels)))
    return PhotoResult(shown, path, people, limit.value, limit.source, probes)


def _words(result: ImageResult) -> str:
    if not result.faces or not result.faces[0].candidates:
        return result.message
    face, best = result.faces[0], result.faces[0].candidates[0]
    return f"{best.name} {best.score:.3f}" if face.match else f"unknown (nearest {best.name} {best.score:.3f})"


def _photographs() -> tuple[Pixels, Pixels]:
    """One to enrol and somebody else's, 512 pixels high; packages that the demo needs anyway bring them along."""
    try:
        from matplotlib.cbook import get_sample_data
        from skimage.data import astronaut
    except ImportError as exc:
        missing = "matplotlib" if "matplotlib" in str(exc) else "scikit-image"
        raise MissingExtraError(missing, "plot" if missing == "matplotlib" else "demo") from exc
    known: Pixels = np.ascontiguousarray(astronaut()[..., ::-1])  # type: ignore[no-untyped-call]
    other = read_image(Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False))))
    size = (round(other.shape[1] * HEIGHT / other.shape[0]), HEIGHT)
    return known, np.asarray(cv2.resize(other, size, interpolation=cv2.INTER_AREA), np.uint8)


def _changed(photo: Pixels) -> Pixels:
    """Mirrored, turned and darkened."""
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 6, 0.9)
    turned = cv2.warpAffine(photo[:, ::-1], turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.convertScaleAbs(turned, alpha=0.85, beta=5), np.uint8)


def _masked(photo: Pixels, analyse: Callable[[Pixels], Any]) -> Pixels:
    """With a face mask drawn on."""
    from edgeface_calibration.occluders import occlude

    faces = analyse(photo)
    if not faces:
        raise FaceError("the detector does not find the face of the demo's photograph")
    return occlude(photo, "mask", np.random.default_rng(0), landmarks=faces[0].landmarks).image


def _annotated(image: Pixels, title: str, result: ImageResult) -> Pixels:
    """The picture with boxes, landmarks and names."""
    shown: Pixels = image.copy()
    for face in result.faces:
        colour = GREEN if face.match else RED
        left, top, right, bottom = (round(float(value)) for value in face.box)
        cv2.rectangle(shown, (left, top), (right, bottom), colour, 2, cv2.LINE_AA)
        for x, y in face.landmarks:
            cv2.circle(shown, (round(float(x)), round(float(y))), 3, colour, -1, cv2.LINE_AA)
        score = f" {face.candidates[0].score:.2f}" if face.candidates else ""
        _label(shown, f"{face.match or 'unknown'}{score}", (left, max(bottom + 18, 18)), colour)
    _label(shown, title, (8, 24), (40, 40, 40))
    return shown


def _label(image: Pixels, text: str, corner: tuple[int, int], colour: tuple[int, int, int]) -> None:
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    x, y = corner
    cv2.rectangle(image, (x, y - height - 4), (x + width + 6, y + base), colour, -1)
    cv2.putText(image, text, (x + 3, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, WHITE, 1, cv2.LINE_AA)


def _encoded(image: Pixels) -> bytes:
    done, data = cv2.imencode(".png", image)
    assert done
    return bytes(data)
