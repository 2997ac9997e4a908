"""One part of a network as an ONNX file of its own, in the manner of `onnx_export`, and running such a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

import edgeface
from edgeface_export.exporter import quiet, stoppable
from edgeface_export.onnx_export import IR_VERSIONS, clean
from edgeface_runtime.errors import ArtefactError, InputError, MissingExtraError
from edgeface_runtime.files import require_file, write_bytes

__all__ = ["run_graph", "write_graph"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
BATCH = 32


def write_graph(
    part: nn.Module,
    sample: Tensor,
    path: Path,
    name: str,
    outputs: tuple[str, ...],
    opset: int = 18,
    *,
    given: str = "input",
) -> None:
    """Write a module with one input and a dynamic batch to `path`, atomically.

    Args:
        part: in evaluation mode, on the CPU; what it wraps is its attribute `net`, after which nodes are named.
        sample: an input of two rows.
        name: of the graph.
        outputs: names of what it gives.
        given: name of its input.

    Raises:
        InputError: `opset` is outside 18..20, or `path` cannot be written.
    """
    if opset not in IR_VERSIONS:
        raise InputError(f"--opset must be {min(IR_VERSIONS)} to {max(IR_VERSIONS)}, got {opset}")
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
    proto.ir_version = IR_VERSIONS[opset]
    proto.producer_name, proto.producer_version = "edgeface", edgeface.__version__
    proto.graph.name = name
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(path, proto.SerializeToString(deterministic=True))


def run_graph(path: Path, rows: Floats, output: str, *, given: str = "input") -> Floats:
    """One output of an ONNX file for (N, C, H, W) float32 rows, on ONNX Runtime's CPU provider.

    Raises:
        InputError: there is no such file.
        ArtefactError: it does not run on them, or has no such output.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as exc:
        raise MissingExtraError("onnxruntime", "cpu") from exc
    require_file(path, "ONNX file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        return np.concatenate([session.run([output], {given: batch})[0] for batch in batches])
    except Exception as exc:  # its exceptions share no base of their own
        line = " ".join(str(exc).split())[:200]
        raise ArtefactError(f"{path.name} does not run ({line}): export it again") from exc
