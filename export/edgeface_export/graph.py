"""A network or a part of one as an ONNX file, with a dynamic batch and no external data; and running such a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

import edgeface
from edgeface_export.exporter import quiet, stoppable
from edgeface_export.naming import clean
from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError, MissingExtraError
from edgeface_runtime.files import require_file, write_bytes

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["BATCH", "IR_VERSIONS", "check_opset", "open_session", "run_graph", "write_graph"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
BATCH = 32
"""Faces in one call."""

IR_VERSIONS = {18: 8, 19: 9, 20: 9}
"""Opset -> the lowest ONNX file version that carries it; newer ones are refused by older readers for no gain.
Not 17: the exporter writes 18 at least and its conversion down fails, leaving 18 with a warning."""


def check_opset(opset: int) -> None:
    """Raise InputError unless graphs are written at that opset."""
    if opset not in IR_VERSIONS:
        raise InputError(f"--opset must be {min(IR_VERSIONS)} to {max(IR_VERSIONS)}, got {opset}")


def write_graph(
    part: nn.Module,
    sample: Tensor,
    path: Path,
    name: str,
    outputs: tuple[str, ...],
    opset: int = 18,
    *,
    given: str = "input",
    notes: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write a module with one input and a dynamic batch to `path`, atomically; returns what was written.

    Args:
        part: in evaluation mode, on the CPU; what it wraps is its attribute `net`, after which nodes are named.
        sample: an input of two rows.
        name: of the graph.
        outputs: names of what it gives.
        given: name of its input.
        notes: properties of the model.

    Raises:
        InputError: `opset` is outside 18..20, or `path` cannot be written.
    """
    check_opset(opset)
    with quiet(), stoppable():
        program = torch.onnx.export(
            part,
            (sample,),
            dynamo=True,
            opset_version=opset,
            input_names=[given],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto = clean(program.model_proto)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
    proto.ir_version = IR_VERSIONS[opset]
    proto.producer_name, proto.producer_version = "edgeface", edgeface.__version__
    proto.graph.name = name
    if notes:
        onnx.helper.set_model_props(proto, dict(notes))
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(path, proto.SerializeToString(deterministic=True))
    return proto


def open_session(model: Path | bytes, optimise: bool = True) -> onnxruntime.InferenceSession:
    """An ONNX file, or its bytes, on ONNX Runtime's CPU provider, whose own exceptions, of no common base, pass.

    `optimise`: let it change the graph for speed; without, every operator is computed as it stands.

    Raises:
        InputError: there is no such file.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as exc:
        raise MissingExtraError("onnxruntime", "cpu") from exc
    if isinstance(model, Path):
        require_file(model, "ONNX file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def run_graph(path: Path, rows: Floats, output: str, *, given: str = "input") -> Floats:
    """One output of an ONNX file for (N, C, H, W) float32 rows, on ONNX Runtime's CPU provider.

    Raises:
        InputError: there is no such file.
        ArtefactError: it does not run on them, or has no such output.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        session = open_session(path)
        batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        return np.concatenate([session.run([output], {given: batch})[0] for batch in batches])
    except EdgefaceError:
        raise
    except Exception as exc:
        line = " ".join(str(exc).split())[:200]
        raise ArtefactError(f"{path.name} does not run ({line}): export it again") from exc
