"""A recogniser from elsewhere, as one ONNX file -> a bundle like any other.

First `open_foreign` reads the file and says what it takes; then `import_bundle` rewrites the graph into the house's
form, compares it with the original, looks at what it makes of faces and writes the bundle with its FP16 and INT8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeface_calibration.int8_ranges import measure_ranges
from edgeface_export.bundle_writer import MODELS, bundle_folder
from edgeface_export.foreign import ForeignInput, constants_as_weights, convert_opset, read_foreign, the_input
from edgeface_export.graph import BATCH, open_session
from edgeface_export.graph_cost import graph_cost
from edgeface_export.house_form import to_house
from edgeface_export.import_checks import MAX_HALF, People, Seen, activation_peak, compare_graphs, look_at_faces
from edgeface_export.int8 import to_int8
from edgeface_export.int8_export import CHOOSING, INT8_GATE, INT8_MODELS, MARGIN, STEP, Int8Settings
from edgeface_export.int8_keep import choose_fp32_layers
from edgeface_export.memory import peak_memory
from edgeface_export.parity import cosines, embed_onnx, to_input
from edgeface_export.precision import HALF_GATE, to_fp16
from edgeface_runtime.bundle import EXPORTED, InputSpec, Manifest, write_manifest
from edgeface_runtime.errors import ArtefactError, EdgefaceError, GateError, InputError
from edgeface_runtime.files import sha256_file, write_bytes

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["SAME", "Foreign", "ImportSettings", "Imported", "import_bundle", "open_foreign"]

SAME = 0.99999
"""Lowest cosine between the rewritten graph and the original."""
SMALLEST_EMBEDDING = 32
"""Values an embedding has at least: fewer are boxes, points or scores."""
UNIT = 1e-3
"""How far lengths may lie from 1 where a graph normalises by itself."""
PEAK_FACES = 4
"""Faces that activations are measured on for FP16."""

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
    int8: Int8Settings | None = field(default=None, repr=False)
    """How to calibrate, where int8 is among the precisions."""

    def __post_init__(self) -> None:
        for precision in self.precisions:
            if precision not in EXPORTED:
                raise ValueError(f"unknown --precision {precision!r}: choose from {', '.join(EXPORTED)}")
        if not self.spec.std > 0 or not np.isfinite((self.spec.mean, self.spec.std)).all():
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
    name, width = _embedding(path, proto, given, output)
    return Foreign(path, proto, opset, given, name, width)


def import_bundle(
    foreign: Foreign, out: Path, settings: ImportSettings, faces: Faces, people: People | None
) -> Imported:
    """Write the bundle `out` (a folder, or a `.tar`) of a foreign recogniser.

    Args:
        faces: (N, H, W, 3) uint8 BGR of different people, cut as the network wants them.
        people: some with identities, to judge range and colour order by; None: not judged.

    Raises:
        InputError: `out` is taken or cannot be written, or int8 without anything to calibrate on.
        ArtefactError: the graph cannot be brought into our form.
        GateError: that changes what it gives, it is blind to faces, or a precision misses its gate.
    """
    if "int8" in settings.precisions and settings.int8 is None:
        raise InputError("--precision int8 is calibrated on real faces: give --faces with identity folders")
    with bundle_folder(out, settings.overwrite) as folder:
        main = folder / MODELS["fp32"]
        normalised, parity = _rewrite(foreign, main, faces, settings.spec)
        seen = look_at_faces(main, settings.spec, faces, people)
        notes: dict[str, Any] = {"opset": next(int(e.version) for e in onnx.load(str(main)).opset_import)}
        precisions = {"fp32": parity}
        if "fp16" in settings.precisions:
            precisions["fp16"], notes["fp16"] = _half(folder, main, faces, settings.spec)
        if "int8" in settings.precisions and settings.int8 is not None:
            drift, notes["int8"] = _int8(folder, main, faces, settings.spec, settings.int8)
            precisions |= drift
        cost = graph_cost(onnx.load(str(main)))
        manifest = Manifest(
            name=settings.name,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            models={key: file for key, file in MODELS.items() if key in precisions},
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


def _session(path: Path, model: bytes) -> onnxruntime.InferenceSession:
    try:
        return open_session(model)
    except EdgefaceError:
        raise
    except Exception as exc:  # ONNX Runtime's own classes share no base
        raise ArtefactError(f"{path} does not load in ONNX Runtime ({_line(exc)}): export it again") from exc


def _embedding(path: Path, proto: onnx.ModelProto, given: ForeignInput, wanted: str | None) -> tuple[str, int]:
    """The output that is the embedding and its size, by running the graph once."""
    session = _session(path, proto.SerializeToString())
    rows = given.batch or 2
    sample = np.random.default_rng(0).uniform(-1, 1, (rows, 3, *given.size)).astype(np.float32)
    try:
        values = session.run(None, {given.name: _as_given(sample, given)})
    except Exception as exc:
        raise ArtefactError(
            f"{path} does not run on {rows} pictures of {given.size[0]}x{given.size[1]} ({_line(exc)}): check --input"
        ) from exc
    names = [value.name for value in session.get_outputs()]
    shapes = {name: np.shape(value) for name, value in zip(names, values, strict=True)}
    types = {name: np.asarray(value).dtype for name, value in zip(names, values, strict=True)}
    told = ", ".join(f"{name} {'x'.join(map(str, shape)) or 'one number'}" for name, shape in shapes.items())
    if wanted is not None and wanted not in shapes:
        raise InputError(f"--output {wanted}: {path} has no such output, it has {told}")
    fits = [
        name
        for name, shape in shapes.items()
        if len(shape) == 2 and shape[0] == rows and shape[1] >= SMALLEST_EMBEDDING and types[name] == np.float32
    ]
    if wanted is not None and wanted not in fits:
        raise ArtefactError(f"--output {wanted} of {path} is no embedding, {rows} rows of float32: it has {told}")
    if not fits:
        raise ArtefactError(
            f"{path} gives no embedding, one row of {SMALLEST_EMBEDDING} values or more for each of {rows} faces, "
            f"but {told}: a detector, perhaps?"
        )
    if wanted is None and len(fits) > 1:
        raise InputError(f"{path} has several outputs that may be the embedding, {told}: choose one with --output")
    name = wanted or fits[0]
    maker = next((node.op_type for node in proto.graph.node if name in node.output), "")
    if maker in ("Softmax", "LogSoftmax", "Sigmoid"):
        raise ArtefactError(f"{path}: its output {name} is probabilities ({maker}): a classifier, not a recogniser")
    return name, int(shapes[name][1])


def _rewrite(foreign: Foreign, target: Path, faces: Faces, spec: InputSpec) -> tuple[bool, dict[str, Any]]:
    """Write the graph in the house's form, compared with the original file; whether that normalises by itself."""
    reference = _original(foreign, to_input(faces, spec))
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
            f"{foreign.path} does not run with {fixed} ({_line(exc)}): export it with a dynamic batch"
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


def _original(foreign: Foreign, rows: Floats) -> Floats:
    """What the file itself gives for (N, 3, H, W) float32 rows, at its own batch and opset."""
    session = _session(foreign.path, foreign.path.read_bytes())
    batch = foreign.input.batch or BATCH
    found = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        filled = part
        if foreign.input.batch is not None:
            filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        try:
            (values,) = session.run([foreign.output], {foreign.input.name: _as_given(filled, foreign.input)})
        except Exception as exc:
            raise ArtefactError(f"{foreign.path} does not run ({_line(exc)}): export it again") from exc
        found.append(values[: len(part)])
    return np.concatenate(found)


def _as_given(rows: Floats, given: ForeignInput) -> Floats:
    return rows if given.layout == "NCHW" else np.ascontiguousarray(rows.transpose(0, 2, 3, 1))


def _half(folder: Path, main: Path, faces: Faces, spec: InputSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    report = to_fp16(main, folder / MODELS["fp16"])
    peak, where = activation_peak(main, report.path, faces[:PEAK_FACES], spec)
    if peak > MAX_HALF:
        raise GateError(
            f"fp16: {where} reaches {peak:.0f}, beyond FP16's range (65504): leave fp16 out of --precision"
        )
    parity = compare_graphs(main, report.path, faces, spec, HALF_GATE).to_dict()
    return parity, {
        "nodes_kept_fp32": list(report.kept_fp32),
        "weights_clamped": report.clamped,
        "weights_vanished": report.vanished,
        "activation_max": peak,
        "activation_faces": min(len(faces), PEAK_FACES),
    }


def _int8(
    folder: Path, main: Path, faces: Faces, spec: InputSpec, settings: Int8Settings
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Both INT8 graphs, as `int8_export` makes them, judged against the FP32 graph."""

    def batches() -> Any:
        total = len(settings.faces)
        for start in range(0, total, STEP):
            yield to_input(settings.faces[start : start + STEP], spec)
            settings.progress("int8: faces measured", min(start + STEP, total), total)

    ranges = measure_ranges(main, batches(), settings.method)
    parity: dict[str, dict[str, Any]] = {}
    kept: dict[str, list[str]] = {}
    for key, (name, scheme) in INT8_MODELS.items():

        def told(done: int, total: int, key: str = key) -> None:
            settings.progress(f"{key}: layers tried in FP32", done, total)

        wanted = INT8_GATE + MARGIN * (1 - INT8_GATE)
        keep = choose_fp32_layers(main, ranges, settings.faces[:CHOOSING], wanted, scheme, told, spec)
        report = to_int8(main, folder / name, ranges, scheme, keep)
        found = compare_graphs(main, report.path, faces, spec, -1.0)
        if not found.cosine_mean >= INT8_GATE:
            raise GateError(
                f"{name} differs from the FP32 graph: mean cosine {found.cosine_mean:.4f} over {found.faces} faces, "
                f"below the gate {INT8_GATE}: calibrate on more faces (--calibration) or with another --method"
            )
        parity[key] = found.to_dict()
        kept[key] = list(report.kept_fp32)
    return parity, {
        "method": settings.method,
        "faces": ranges.faces,
        "drawn_from": settings.source,
        "seed": settings.seed,
        "layers_kept_fp32": kept,
    }


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]
