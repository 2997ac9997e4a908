"""Running an ONNX file that somebody else exported as it is: which output is the embedding, and what it gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeface_export.foreign import ForeignInput
from edgeface_export.graph import BATCH, open_session
from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["SMALLEST_EMBEDDING", "find_embedding", "one_line", "run_original"]

SMALLEST_EMBEDDING = 32
"""Values an embedding has at least: fewer are boxes, points or scores."""

Floats = NDArray[np.float32]


def _session(path: Path, model: bytes) -> onnxruntime.InferenceSession:
    try:
        return open_session(model)
    except EdgefaceError:
        raise
    except Exception as exc:  # ONNX Runtime's own classes share no base
        raise ArtefactError(f"{path} does not load in ONNX Runtime ({one_line(exc)}): export it again") from exc


def find_embedding(path: Path, proto: onnx.ModelProto, given: ForeignInput, wanted: str | None) -> tuple[str, int]:
    """The output that is the embedding and its size, by running the graph once.

    Args:
        wanted: its name, where it is told.

    Raises:
        InputError: several may be it, or there is none of that name.
        ArtefactError: the graph does not run, or gives no embedding.
    """
    session = _session(path, proto.SerializeToString())
    rows = given.batch or 2
    sample = np.random.default_rng(0).uniform(-1, 1, (rows, 3, *given.size)).astype(np.float32)
    try:
        values = session.run(None, {given.name: _as_given(sample, given)})
    except Exception as exc:
        raise ArtefactError(
            f"{path} does not run on {rows} pictures of {given.size[0]}x{given.size[1]} ({one_line(exc)}): "
            "check --input"
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


def run_original(path: Path, given: ForeignInput, output: str, rows: Floats) -> Floats:
    """What the file itself gives for (N, 3, H, W) float32 rows, at its own batch and opset.

    Raises:
        ArtefactError: it does not load or run.
    """
    session = _session(path, path.read_bytes())
    batch = given.batch or BATCH
    found = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        filled = part
        if given.batch is not None:
            filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        try:
            (values,) = session.run([output], {given.name: _as_given(filled, given)})
        except Exception as exc:
            raise ArtefactError(f"{path} does not run ({one_line(exc)}): export it again") from exc
        found.append(values[: len(part)])
    return np.concatenate(found)


def _as_given(rows: Floats, given: ForeignInput) -> Floats:
    return rows if given.layout == "NCHW" else np.ascontiguousarray(rows.transpose(0, 2, 3, 1))


def one_line(exc: Exception) -> str:
    """What an exception says, in one line that is not too long."""
    return " ".join(str(exc).split())[:200]
