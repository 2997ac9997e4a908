"""ONNX -> a parsed network, checked; what TensorRT refuses is said with the node's name and the parser's reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeface_export.layer_types import NetworkTypes, network_types
from edgeface_export.trt_module import TrtLog, one_line
from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.errors import ArtefactError, EngineError

__all__ = ["INPUT", "parse_network"]

INPUT = "input"


def parse_network(
    module: Any, network: Any, log: TrtLog, onnx: Path, content: bytes, precision: str
) -> tuple[Any, NetworkTypes]:
    """Parse `content`, what the file `onnx` holds, into an empty network.

    Returns:
        The parser, which must live as long as the network is used, and the network's types.

    Raises:
        ArtefactError: it is not an ONNX graph, or not one of this project's recognisers.
        EngineError: TensorRT refuses a node, or the graph is not of that precision.
    """
    parser = module.OnnxParser(network, log.logger)
    if not parser.parse(content):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        unreadable = {"MODEL_DESERIALIZE_FAILED", "INVALID_GRAPH"}
        if errors and errors[0].code().name in unreadable and not errors[0].node_name():
            raise ArtefactError(f"{onnx} is not a readable ONNX graph: damaged or truncated: export it again")
        raise EngineError(f"{onnx.name}: TensorRT refuses {_describe(errors, log)}")
    if network.num_inputs == 0 or network.num_outputs == 0:
        raise ArtefactError(f"{onnx} is not an ONNX graph: it has no inputs or outputs")
    _check_ends(onnx, network)
    types = network_types(module, network)
    found = types.precision
    if found != precision:
        mend = f"export it with --precision {precision}" if precision in EXPORTED else f"give --precision {found}"
        raise EngineError(
            f"{onnx.name} is an {found} graph (layers: {', '.join(f'{n} {t}' for t, n in types.layers.items())}), "
            f"{precision} was asked for: {mend}"
        )
    return parser, types


def _describe(errors: list[Any], log: TrtLog) -> str:
    if not errors:
        return f"it: {log.last}"
    first = errors[0]
    where = f"node {first.node_name()} ({first.node_operator()})" if first.node_name() else "it"
    # Where building a layer fails, the parser only says so; the builder's own line before it has the reason.
    reasons = [line for line in log.errors if "ModelImporter" not in line]
    reason = one_line(reasons[0] if reasons else first.desc())
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {reason}{more}"


def _check_ends(onnx: Path, network: Any) -> None:
    names = [network.get_input(index).name for index in range(network.num_inputs)]
    if names != [INPUT]:
        raise ArtefactError(f"{onnx}: expected one input named {INPUT}, found {', '.join(names)}: export it again")
    shape = tuple(network.get_input(0).shape)
    if len(shape) != 4 or shape[0] != -1 or min(shape[1:]) < 1:
        raise ArtefactError(f"{onnx}: its input is {shape}, not (batch, 3, H, W) with a free batch: export it again")
