"""edgeface enroll, identify, verify: what a device does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.engine import NoBuild, Signed, builder
from edgeface.cli.galleries import Cache, GalleryPlace, say_stale
from edgeface.cli.gallery_key import KeyEnv, KeyFile, KeyFlags, Passphrase, PassphraseFile, gallery_key
from edgeface.cli.output import Json, Output, Quiet
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface_runtime.recognizer import Recognizer
    from edgeface_runtime.results import FaceResult, ImageResult

__all__ = [
    "AllowCpu",
    "Backend",
    "Bundle",
    "Device",
    "Limit",
    "MinFace",
    "Precision",
    "Threads",
    "open_recognizer",
    "register",
]

MOST_NAMES = 4
"""Regions shown by name in a table; `--json` has all."""
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder or .tar, or `default`.")]
Backend = Annotated[str, typer.Option(help="onnxruntime, onnxruntime-tensorrt, tensorrt or tensorrt-rtx.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
AllowCpu = Annotated[
    bool, typer.Option("--allow-cpu", help="Where a GPU is asked for and none is there, run on the CPU and say so.")
]
Precision = Annotated[str, typer.Option(help="fp32, fp16, int8, int8+fp16, or auto: fp16 for TensorRT, else fp32.")]
Threads = Annotated[int, typer.Option(help="CPU threads; 0 leaves it to the backend.")]
MinFace = Annotated[int, typer.Option(help="Smallest face to look for, pixels.")]
Largest = Annotated[bool, typer.Option("--largest", help="Of several faces take the most prominent.")]
KeepCrops = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep the aligned faces there, so that `gallery migrate` can use them."),
]
AcceptPoor = Annotated[bool, typer.Option("--accept-poor", help="Enrol faces of poor quality as well.")]
AllowDuplicate = Annotated[
    bool, typer.Option("--allow-duplicate", help="Do not look for the same face under other names.")
]
Limit = Annotated[float | None, typer.Option("--threshold", help="Cosine to decide by; default: the bundle's.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(enroll)
    app.command()(identify)
    app.command()(verify)


def enroll(
    bundle: Bundle,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures with that face.")],
    gallery: GalleryPlace,
    cache: Cache = None,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Make a new gallery encrypted, by the key given.")
    ] = False,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    largest: Largest = False,
    keep_crops: KeepCrops = None,
    accept_poor: AcceptPoor = False,
    allow_duplicate: AllowDuplicate = False,
    backend: Backend = "onnxruntime",
    device: Device = "auto",
    allow_cpu: AllowCpu = False,
    precision: Precision = "auto",
    threads: Threads = 0,
    min_face: MinFace = 40,
    no_build: NoBuild = False,
    require_signature: Signed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add a person to a gallery, one template a picture; all pictures or none."""
    from edgeface_runtime.enrolling import enrollable
    from edgeface_runtime.files import make_parent
    from edgeface_runtime.gallery_crops import said_folder
    from edgeface_runtime.gallery_open import is_server

    output = Output(json, quiet)
    enrollable(name)
    is_new = not is_server(gallery) and not Path(gallery).exists()
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output, fresh=encrypt and is_new)
    if encrypt and key is None:
        raise InputError("--encrypt: which key? give --key-file, --key-env, --passphrase or --passphrase-file")
    if is_new and key is not None and not encrypt:
        raise InputError(f"{gallery} is a new gallery and there is a key for it: give --encrypt, or no key")
    with open_recognizer(
        output, bundle, backend, precision, device, threads, min_face, allow_cpu, no_build, require_signature
    ) as recognizer:
        # before the gallery is made, so that a bad picture leaves none
        faces = recognizer.prepare(images, largest, accept_poor)
        if keep_crops is not None:
            said_folder(Path(gallery), keep_crops)
            make_parent(keep_crops / "crop.png")
            if key is not None:
                output.note("the crops are kept as plain pictures, not encrypted")
        with recognizer.open_gallery(gallery, create=True, cache=cache, key=key) as people:
            enrolment = recognizer.add(
                people, name, images, faces, keep_crops=keep_crops, allow_duplicate=allow_duplicate
            )
    output.wrote(people.place, is_new or is_server(gallery))
    for face, image in zip(enrolment.faces, images, strict=True):
        _warn_of_quality(output, face, str(image))
    for same in enrolment.duplicates:
        output.note(
            f"warning: {images[same.picture]} looks like {same.name}, who is enrolled already (cosine "
            f"{same.score:.4f}): delete one of the two, or give --allow-duplicate where they are two people"
        )
    if not enrolment.checked and not allow_duplicate:
        output.note("not looked for under other names: the bundle carries no threshold")
    output.data(enrolment.to_dict())
    output.line(f"{enrolment.name}: {len(enrolment.ids)} template{'s' * (len(enrolment.ids) != 1)} added")


def identify(
    bundle: Bundle,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to look at.")],
    gallery: GalleryPlace,
    cache: Cache = None,
    top: Annotated[int, typer.Option(help="Candidates listed for a face.")] = 5,
    threshold: Limit = None,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    backend: Backend = "onnxruntime",
    device: Device = "auto",
    allow_cpu: AllowCpu = False,
    precision: Precision = "auto",
    threads: Threads = 0,
    min_face: MinFace = 40,
    no_build: NoBuild = False,
    require_signature: Signed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Match every face of every picture against a gallery. Exit code 1 when no face matched anybody."""
    from edgeface.cli.progress import bar
    from edgeface_runtime.errors import ImageError

    output = Output(json, quiet)
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output)
    with (
        open_recognizer(
            output, bundle, backend, precision, device, threads, min_face, allow_cpu, no_build, require_signature
        ) as recognizer,
        recognizer.open_gallery(gallery, cache=cache, key=key) as people,
    ):
        with bar("index", quiet) as show:
            index = people.prepare(show)
        if index["note"]:
            output.note(f"note: {index['note']}")
        results = [recognizer.identify(image, people, top, threshold) for image in images]
    for result in results:
        if result.status == "unreadable" and any(other.status != "unreadable" for other in results):
            output.note(f"warning: {result.message}")
        for number, face in enumerate(result.faces):
            _warn_of_quality(output, face, f"{result.source}, face {number + 1}")
    stale = [result.gallery for result in results if result.gallery and result.gallery.copy_of]
    say_stale(stale[0] if stale else None)
    output.data([result.to_dict() for result in results])
    if all(result.status == "unreadable" for result in results):
        more = f"none of {len(results)} pictures can be read, first: " if len(results) > 1 else ""
        raise ImageError(more + results[0].message)
    folder = _common_folder(images)
    title = _decided_by(results) + (f"; pictures of {folder}" if folder else "")
    output.table(title, IDENTIFY_COLUMNS, [row for result in results for row in _rows(result, folder)])
    refused = [result.message for result in results if result.status == "refused"]
    if refused:
        raise InputError(refused[0])
    if not any(face.match for result in results for face in result.faces):
        raise typer.Exit(1)


IDENTIFY_COLUMNS = ("picture", "face", "match", "score", "next", "covered", "box")


def _decided_by(results: Sequence[ImageResult]) -> str:
    """Every threshold that decided, in words; that for faces there would have been where there is none."""
    used = [face.threshold for result in results for face in result.faces] or [results[0].threshold]
    words = [f"threshold {limit.value:.4f} ({limit.source})" for limit in used if limit is not None]
    return "; ".join(dict.fromkeys(words))


def _warn_of_quality(output: Output, face: FaceResult, where: str) -> None:
    if face.quality is not None and face.quality.poor:
        output.note(f"warning: {where}: poor quality: {', '.join(face.quality.reasons)}")


def _common_folder(images: Sequence[Path]) -> Path | None:
    """The folder all pictures lie in, said once instead of in every row; None: they lie in several, or here."""
    folders = {image.parent for image in images}
    return folders.pop() if len(folders) == 1 and folders != {Path()} else None


def _rows(result: ImageResult, folder: Path | None) -> list[tuple[object, ...]]:
    picture = result.source if folder is None else Path(result.source).name
    if not result.faces:
        return [(picture, "", result.message.replace(result.source, picture), "", "", "", "")]
    rows: list[tuple[object, ...]] = []
    for number, face in enumerate(result.faces):
        best = f"{face.candidates[0].score:.4f}" if face.candidates else ""
        others = ", ".join(
            f"{other.name} {other.score:.2f}" for other in face.candidates[0 if not face.match else 1 :][:3]
        )
        covered = _covered(face)
        box = " ".join(f"{value:.0f}" for value in face.box)
        rows.append((picture, number + 1, face.match or face.note or "unknown", best, others, covered, box))
    return rows


def _covered(face: FaceResult) -> str:
    """How much of a face is covered, and what."""
    share = "" if face.covered_share is None else f"{face.covered_share:.2f}"
    names = face.discarded if len(face.discarded) <= MOST_NAMES else (f"{len(face.discarded)} regions",)
    what = ", ".join(names) or (face.covered_part or "")
    return f"{share} {what}".strip()


def verify(
    bundle: Bundle,
    a: Annotated[Path, typer.Argument(metavar="A", help="One picture.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    threshold: Limit = None,
    largest: Largest = False,
    backend: Backend = "onnxruntime",
    device: Device = "auto",
    allow_cpu: AllowCpu = False,
    precision: Precision = "auto",
    threads: Threads = 0,
    min_face: MinFace = 40,
    no_build: NoBuild = False,
    require_signature: Signed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Whether two pictures show one person. Exit code 1 when they do not."""
    output = Output(json, quiet)
    with open_recognizer(
        output, bundle, backend, precision, device, threads, min_face, allow_cpu, no_build, require_signature
    ) as recognizer:
        result = recognizer.verify(a, b, threshold, largest=largest)
    for picture, face in ((a, result.a), (b, result.b)):
        _warn_of_quality(output, face, str(picture))
    output.data(result.to_dict())
    word = "same person" if result.match else "different people"
    output.line(
        f"{word}: cosine {result.score:.4f}, threshold {result.threshold.value:.4f} ({result.threshold.source})"
    )
    for picture, face in ((a, result.a), (b, result.b)):
        covered = _covered(face)
        if covered:
            output.line(f"{picture}: covered {covered}")
    if result.discarded:
        output.line(f"left out on both: {', '.join(result.discarded)}")
    if not result.match:
        raise typer.Exit(1)


def open_recognizer(
    output: Output,
    bundle: Path,
    backend: str,
    precision: str,
    device: str,
    threads: int,
    min_face: int,
    allow_cpu: bool,
    no_build: bool,
    signed_by: Path | None,
) -> Recognizer:
    """A bundle loaded as the flags say; what ran in place of what was asked for is said."""
    from edgeface_runtime.recognizer import Recognizer

    recognizer = Recognizer.from_bundle(
        bundle,
        backend,
        precision,
        device,
        threads,
        min_face=min_face,
        allow_cpu=allow_cpu,
        builder=builder(output, no_build),
        require_signature=signed_by,
    )
    output.fell_back(recognizer.describe())
    return recognizer
