"""The demo's photograph: a real face found, aligned and looked up in a gallery, as it is and with a mask drawn on."""

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

if TYPE_CHECKING:
    from edgeface_runtime.results import ImageResult

__all__ = ["PhotoResult", "Probe", "recognise_photo"]

Pixels = NDArray[np.uint8]
NAME = "astronaut"
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
    """What became of the photograph."""

    picture: Path
    """The annotated pictures side by side."""
    gallery: Path
    people: int
    """In the gallery."""
    threshold: float
    probes: dict[str, Probe]


def recognise_photo(bundle: Path, crops: Path, out: Path, threshold: float | None) -> PhotoResult:
    """Enrol the people of `crops` and the photograph, then identify changed copies of the photograph.

    Args:
        bundle: with a threshold, unless one is given.
        crops: identity folders of aligned faces: the others of the gallery.
        out: folder for the pictures and the gallery.
        threshold: cosine to decide by; None takes the bundle's.

    Raises:
        MissingExtraError: scikit-image, which carries the photograph, is not installed.
        FaceError: the detector does not find the face.
    """
    from edgeface.data.folders import scan
    from edgeface_runtime.image import read_image
    from edgeface_runtime.recognizer import Recognizer

    out.mkdir(parents=True, exist_ok=True)
    photo = _photograph()
    folder, path = scan(crops), out / "gallery.db"
    for old in out.glob("gallery.db*"):
        old.unlink()
    with (
        Recognizer.from_bundle(bundle, threads=1) as recognizer,
        recognizer.open_gallery(path, create=True) as gallery,
    ):
        first = {label: picture for picture, label in reversed(folder.samples)}
        for label, picture in first.items():
            vector = recognizer.embed(read_image(picture)[None]).vectors[0]
            gallery.enroll(folder.identities[label], vector, picture.name)
        recognizer.enroll(gallery, NAME, [photo], largest=True)
        people = len(gallery.people())
        limit = recognizer.threshold(threshold).value
        probes, panels = {}, []
        for name, probe in _probes(photo, recognizer.analyse).items():
            write_bytes(out / f"{name}.png", _encoded(probe))
            result = recognizer.identify(probe, gallery, 3, threshold)
            probes[name] = Probe(_words(result), {**result.to_dict(), "source": f"{name}.png"})
            panels.append(_annotated(probe, f"{name}: mirrored, turned, darkened", result))
    shown = out / "recognition.png"
    write_bytes(shown, _encoded(np.hstack(panels)))
    return PhotoResult(shown, path, people, limit, probes)


def _words(result: ImageResult) -> str:
    if not result.faces or not result.faces[0].candidates:
        return result.message
    face, best = result.faces[0], result.faces[0].candidates[0]
    return f"{best.name} {best.score:.3f}" if face.match else f"unknown (nearest {best.name} {best.score:.3f})"


def _photograph() -> Pixels:
    try:
        from skimage.data import astronaut
    except ImportError as exc:
        raise MissingExtraError("scikit-image", "demo") from exc
    photo: Pixels = np.ascontiguousarray(astronaut()[..., ::-1])  # type: ignore[no-untyped-call]
    return photo


def _probes(photo: Pixels, analyse: Callable[[Pixels], Any]) -> dict[str, Pixels]:
    """The photograph mirrored, turned and darkened; the same with a face mask drawn on."""
    height, width = photo.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 6, 0.9)
    turned = cv2.warpAffine(photo[:, ::-1], turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    clean = np.asarray(cv2.convertScaleAbs(turned, alpha=0.85, beta=5), np.uint8)
    faces = analyse(clean)
    if not faces:
        raise FaceError("the detector does not find the face of the demo's photograph")
    from edgeface_calibration.occluders import occlude

    masked = occlude(clean, "mask", np.random.default_rng(0), landmarks=faces[0].landmarks).image
    return {"clean": clean, "masked": masked}


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
