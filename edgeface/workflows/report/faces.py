"""Saliency of masked bundles before and after masking, on a few covered faces, as pictures and numbers."""

from __future__ import annotations

import base64
import importlib.util
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.sample import sample_faces
from edgeface.evaluation.occlusion import Occlusion
from edgeface.workflows.benchmark import Subject
from edgeface.workflows.report.saliency import Embed, Look, look
from edgeface.workflows.report.unmask import write_unmasked
from edgeface_runtime.align import template_for
from edgeface_runtime.backends import open_backend
from edgeface_runtime.bundle import Bundle, open_bundle
from edgeface_runtime.embedding import embed
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.manifest import Manifest

__all__ = ["FaceLook", "SaliencyResult", "View", "gather_saliency", "to_look_at"]

COUNT = 4
COVERS = ("mask", "sunglasses", "scarf", "random")
"""What covers each of the faces."""
NETWORKS = 2
"""Looked at, at most."""
ZOOM = 2
QUALITY = 88
OFF, ON = "feature mask off", "feature mask on"
MASKS = ("decoder", "spatial", "vector")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """One network at one covered face."""

    network: str
    """In words: another bundle, or this one with its feature mask off and on."""
    on_cover: float
    """Share of the sensitivity that lies on the cover, 0..1."""
    to_clean: float
    """Cosine with the same face uncovered."""
    picture: str
    """Data URI of the face under its sensitivity."""


@dataclass(frozen=True)
class FaceLook:
    """One covered face, as several networks see it."""

    cover: str
    cover_area: float
    """Share of the picture that is covered, 0..1."""
    highest: float
    """1 - cosine at the brightest pixel of all views."""
    picture: str
    """Data URI of the covered face."""
    views: tuple[View, ...]


@dataclass(frozen=True)
class SaliencyResult:
    """One masked bundle on all faces."""

    row: int
    """Its number in the benchmark."""
    source: str
    """Of the faces, in words."""
    faces: tuple[FaceLook, ...]


def to_look_at(subjects: Sequence[Subject], note: Callable[[str], None]) -> list[int]:
    """Numbers of the rows whose bundles have a mask: the first and the last of them. `note` is told of the others."""
    numbers: dict[Path, int] = {}
    for number, subject in enumerate(subjects):
        if subject.bundle is not None and subject.masking in MASKS:
            numbers.setdefault(subject.bundle, number)
    found = list(numbers.values())
    if not found:
        note("saliency before and after masking is left out: no bundle has a mask of its own")
        return []
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        note(f"saliency is left out: {' and '.join(missing)} not installed (pip install 'edgeface[train,cpu]')")
        return []
    chosen = found if len(found) <= NETWORKS else [found[0], found[-1]]
    if len(chosen) < len(found):
        left = ", ".join(subjects[number].label for number in found if number not in chosen)
        note(f"saliency is shown for the masked bundles of the lowest and the highest ratio; left out: {left}")
    return chosen


def gather_saliency(
    subjects: Sequence[Subject],
    folder: Path | None,
    *,
    note: Callable[[str], None],
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
) -> list[SaliencyResult]:
    """Look at COUNT faces with every masked bundle's FP32 model on ONNX Runtime's CPU.

    A bundle of the same ratio and input without any mask is looked with too, where there is one.

    Args:
        folder: identity folders of crops; None: drawn faces.

    Raises:
        InputError: the folder is not one of crops of the bundle's size.
    """
    results = []
    for number in to_look_at(subjects, note):
        subject = subjects[number]
        assert subject.bundle is not None

        def step(done: int, label: str = subject.label) -> None:
            progress(label, done, COUNT)

        try:
            results.append(_one(number, open_bundle(subject.bundle), _plain_twin(subjects, number), folder, step))
        except ArtefactError as exc:
            note(f"saliency of {subject.label} is left out: {exc}")
    return results


def _plain_twin(subjects: Sequence[Subject], number: int) -> Subject | None:
    """The first bundle without a mask of the same ratio and size."""
    own = subjects[number]
    alike = [
        other
        for other in subjects
        if other.bundle and other.masking == "none" and (other.requested, other.size) == (own.requested, own.size)
    ]
    return alike[0] if alike else None


def _one(
    number: int, bundle: Bundle, twin: Subject | None, folder: Path | None, progress: Callable[[int], None]
) -> SaliencyResult:
    manifest = bundle.manifest
    size = (manifest.input.height, manifest.input.width)
    template = manifest.template if manifest.crop == "aligned" else None
    points = template_for(size) if template is None else np.array(template)
    sample = sample_faces(folder, COUNT, size=size, template=template)
    with ExitStack() as stack:
        plain = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeface-"))) / "unmasked.onnx"
        write_unmasked(bundle.model_path(), plain)
        networks: dict[str, Embed] = {}
        if twin is not None and twin.bundle is not None:
            other = open_bundle(twin.bundle)
            networks[f"{twin.name}, no feature mask"] = _embed(stack, other.model_path(), other.manifest)
        networks[OFF] = _embed(stack, plain, manifest)
        networks[ON] = _embed(stack, bundle.model_path(), manifest)
        found = []
        for at, clean in enumerate(sample.crops):
            cover = Occlusion(COVERS[at % len(COVERS)])
            done = cover.cover(clean, f"face {at}", points)
            looks = {name: look(run, clean, done.image, done.mask) for name, run in networks.items()}
            found.append(_face(cover.label, done.image, done.mask, looks))
            progress(at + 1)
    return SaliencyResult(number, sample.source, tuple(found))


def _embed(stack: ExitStack, path: Path, manifest: Manifest) -> Embed:
    backend = stack.enter_context(open_backend("onnxruntime", path, device="cpu"))
    return lambda faces: embed(backend, manifest, faces, "fp32").vectors


def _face(cover: str, image: Pixels, mask: NDArray[np.bool_], looks: Mapping[str, Look]) -> FaceLook:
    highest = max(float(found.heat.max()) for found in looks.values())
    views = [
        View(name, found.on_cover, found.to_clean, _data_uri(_heated(image, found.heat / max(highest, 1e-9), mask)))
        for name, found in looks.items()
    ]
    return FaceLook(cover, float(mask.mean()), highest, _data_uri(_larger(image)), tuple(views))


def _larger(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(image, (width * ZOOM, height * ZOOM), interpolation=cv2.INTER_CUBIC), np.uint8)


def _heated(image: Pixels, heat: NDArray[np.float64], cover: NDArray[np.bool_]) -> Pixels:
    """The face in grey under its heat (0..1), the cover's outline drawn in white."""
    size = (image.shape[1] * ZOOM, image.shape[0] * ZOOM)
    smooth = cv2.resize(cv2.GaussianBlur(heat, (0, 0), 3), size, interpolation=cv2.INTER_LINEAR).clip(0, 1)
    colours = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float64)
    grey = cv2.cvtColor(cv2.cvtColor(_larger(image), cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.float64)
    strength = 0.25 + 0.6 * smooth[..., None]
    shown = np.asarray((0.75 * grey * (1 - strength) + colours * strength).clip(0, 255), np.uint8)
    outline = cv2.resize(cover.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    edges, _ = cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(shown, edges, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return shown


def _data_uri(image: Pixels) -> str:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
