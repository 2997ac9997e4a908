"""The same network without its mask: the graph with the one multiplication by the mask taken out."""

from __future__ import annotations

from pathlib import Path

from edgeface_runtime.errors import ArtefactError

__all__ = ["write_unmasked"]

COVERED = "covered_share"
"""The output that is the mean of what the mask discards: from it the mask is found in the graph."""


def write_unmasked(source: Path, target: Path) -> None:
    """Write the FP32 graph `source` so that features (or the embedding) pass as if its mask were 1 everywhere.

    Raises:
        ArtefactError: the graph has not exactly one multiplication by a mask.
    """
    import onnx
    from onnx import helper

    model = onnx.load(str(source))
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    node = made_by.get(COVERED)
    while node is not None and node.op_type != "ReduceMean":
        node = next((made_by[name] for name in node.input if name in made_by), None)
    mask = node.input[0] if node is not None else None
    uses = [at for at, other in enumerate(graph.node) if other.op_type == "Mul" and mask in other.input]
    if mask is None or len(uses) != 1:
        raise ArtefactError(f"{source} has no mask that can be taken out: {len(uses)} multiplications by it found")
    masked = graph.node[uses[0]]
    (passed,) = (name for name in masked.input if name != mask)
    replacement = helper.make_node("Identity", [passed], list(masked.output), name="unmasked")
    graph.node.remove(masked)
    graph.node.insert(uses[0], replacement)
    onnx.save(model, str(target))
