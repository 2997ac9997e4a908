"""A recogniser from elsewhere, as one ONNX file -> a bundle like any other.

First `open_foreign` reads the file and says what it takes; then `import_bundle` rewrites the graph into the house's
form, compares it with the original, looks at what it makes of faces and writes the bundle with its FP16 and INT8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeface_export.bundle_place import bundle_folder, check_place
from edgeface_export.foreign import ForeignInput, constants_as_weights, convert_opset, read_foreign, the_input
from edgeface_export.foreign_run import find_embedding, one_line, run_original
from edgeface_export.graph_cost import graph_cost
from edgeface_export.house_form import to_house
from edgeface_export.import_checks import People, Progress, Seen, look_at_faces
from edgeface_export.int8_export import Int8Settings
from edgeface_export.judge import Judge, Judging
from edgeface_export.memory import peak_memory
from edgeface_export.parity import cosines, embed_onnx, to_input
from edgeface_export.variants import MODELS, check_int8, check_precisions, models_of, write_variants
from edgeface_runtime.bundle import InputSpec, Manifest, write_manifest
from edgeface_runtime.errors import ArtefactError, EdgefaceError, GateError
from edgeface_runtime.files import sha256_file, write_bytes

__all__ = ["SAME", "Foreign", "ImportSettings", "Imported", "import_bundle", "open_foreign"]

SAME = 0.99999
"""Lowest cosine between the rewritten graph and the original."""
UNIT = 1e-3
"""How far lengths may lie from 1 where a graph normalises by itself."""

Faces = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Foreign:
    """An ONNX file from elsewhere, read."""

    path: Path
    proto: onnx.ModelProto
    """At an opset that is taken, weights as initializers."""
    opset: int
    """That it came with."""
    input: ForeignInput
    output: str
    """Name of the output that is the embedding."""
    embedding_size: int


@dataclass(frozen=True)
class ImportSettings:
    """What the file does not say by itself."""

    name: str
    """Of the model, for people."""
    spec: InputSpec
    """What it eats."""
    template: tuple[tuple[float, float], ...]
    """Five points (x, y), pixels of its input, that its faces were aligned onto."""
    crop: str = "aligned"
    """aligned, or box."""
    licence: str = ""
    """Of the weights."""
    data: str = ""
    """They were trained on."""
    precisions: Sequence[str] = ("fp32",)
    """Of EXPORTED."""
    overwrite: bool = False
    """Replace a bundle that is there."""
    judging: Judging | None = field(default=None, repr=False)
    """What precisions other than fp32 are judged on; None: the faces looked at."""
    int8: Int8Settings | None = field(default=None, repr=False)
    """How to calibrate, where int8 is among the precisions."""

    def __post_init__(self) -> None:
        for flag, value in (("--mean", self.spec.mean), ("--std", self.spec.std)):
            if not np.isfinite(value):
                raise ValueError(f"{flag} must be a number, got {value:g}")
        if not self.spec.std > 0:
            raise ValueError(f"--std must be above 0, got {self.spec.std:g}")


@dataclass(frozen=True)
class Imported:
    """What was written."""

    manifest: Manifest
    seen: Seen
    """What it makes of faces."""


def open_foreign(
    path: Path, size: tuple[int, int] | None = None, layout: str | None = None, output: str | None = None
) -> Foreign:
    """Read a recogniser's ONNX file; size, layout and output are needed only where the file leaves them open.

    Raises:
        InputError: no such file, or it contradicts what is given.
        ArtefactError: it is no FP32 recogniser; says what it is instead.
    """
    proto, opset = convert_opset(path, read_foreign(path))
    constants_as_weights(proto)
    given = the_input(path, proto, size, layout)
    name, width = find_embedding(path, proto, given, output)
    return Foreign(path, proto, opset, given, name, width)


def import_bundle(
    foreign: Foreign,
    out: Path,
    settings: ImportSettings,
    faces: Faces,
    people: People | None,
    progress: Progress = lambda phase, done, total: None,
) -> Imported:
    """Write the bundle `out` (a folder, or a `.tar`) of a foreign recogniser.

    Args:
        faces: (N, H, W, 3) uint8 BGR of different people, cut as the network wants them.
        people: some with identities, to judge range and colour order by; None: not judged.
        progress: called with a phase's name, steps done and steps in all.

    Raises:
        InputError: `out` is taken or cannot be written, or int8 without anything to calibrate on.
        ArtefactError: the graph cannot be brought into our form.
        GateError: that changes what it gives, it is blind to faces, or a precision misses its gate.
    """
    wanted = check_precisions(settings.precisions)
    check_int8(wanted, settings.int8)
    judging = replace(settings.judging or Judging(faces), spec=settings.spec)
    check_place(out, settings.overwrite)
    with bundle_folder(out) as folder:
        main = folder / MODELS["fp32"]
        normalised, parity = _rewrite(foreign, main, faces, settings.spec)
        seen = look_at_faces(main, settings.spec, faces, people, progress)
        notes: dict[str, Any] = {"opset": next(int(e.version) for e in onnx.load(str(main)).opset_import)}
        precisions = {"fp32": parity}
        if len(wanted) > 1:
            drift, made = write_variants(folder, wanted, Judge(main, judging), settings.int8)
            precisions |= drift
            notes |= made
        cost = graph_cost(onnx.load(str(main)))
        manifest = Manifest(
            name=settings.name,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            models=models_of(wanted),
            template=settings.template,
            embedding_size=foreign.embedding_size,
            input=settings.spec,
            crop=settings.crop,
            arch={"imported": _origin(foreign, normalised)},
            macs=cost.macs,
            parameters=cost.parameters,
            peak_memory_bytes=peak_memory(main),
            parity=precisions,
            weights={"licence": settings.licence, "data": settings.data},
            extra={"export": notes, "import": seen.to_dict()},
        )
        manifest = write_manifest(folder, manifest)
    return Imported(manifest, seen)


def _origin(foreign: Foreign, normalised: bool) -> dict[str, Any]:
    proto, given = foreign.proto, foreign.input
    return {
        "file": foreign.path.name,
        "sha256": sha256_file(foreign.path),
        "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
        "opset": foreign.opset,
        "input": given.name,
        "output": foreign.output,
        "layout": given.layout,
        "batch": given.batch or "free",
        "normalised_inside": normalised,
    }


def _rewrite(foreign: Foreign, target: Path, faces: Faces, spec: InputSpec) -> tuple[bool, dict[str, Any]]:
    """Write the graph in the house's form, compared with the original file; whether that normalises by itself."""
    reference = run_original(foreign.path, foreign.input, foreign.output, to_input(faces, spec))
    lengths = np.linalg.norm(reference.astype(np.float64), axis=1)
    normalised = bool((np.abs(lengths - 1) < UNIT).all())
    made = to_house(foreign.proto, foreign.input, foreign.output, foreign.embedding_size, normalised)
    write_bytes(target, made.SerializeToString(deterministic=True))
    try:
        found = embed_onnx(target, faces, spec)[0]
    except EdgefaceError:
        raise
    except Exception as exc:
        batch = foreign.input.batch
        fixed = "a free batch" if batch is None else f"its batch of {batch} made free"
        raise ArtefactError(
            f"{foreign.path} does not run with {fixed} ({one_line(exc)}): export it with a dynamic batch"
        ) from exc
    values = cosines(reference, found)
    if np.isfinite(reference).all() and not values.min() >= SAME:
        raise GateError(
            f"{foreign.path} gives something else with its batch made free (cosine {values.min():.6f}): "
            "export it with a dynamic batch"
            if foreign.input.batch is not None
            else f"{foreign.path} gives something else once rewritten (cosine {values.min():.6f})"
        )
    return normalised, {"cosine_min": float(values.min()), "cosine_mean": float(values.mean()), "faces": len(faces)}
