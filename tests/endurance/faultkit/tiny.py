"""A bundle with a recogniser of one layer: everything around the network is real, the network costs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.manifest import Manifest, write_manifest

SIZE = 64
"""Length of its embeddings."""


def write_bundle(folder: Path, seed: int = 0) -> Path:
    """Make a bundle in `folder`, which must not be there: 16x16 average pooling, one linear layer, L2 norm."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True)
    weights = np.random.default_rng(seed).standard_normal((126, SIZE)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["raw"]),
            helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 96])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", SIZE])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "recognizer.onnx"))
    manifest = Manifest(
        name=f"tiny-{seed}",
        created="2026-01-02T03:04:05+00:00",
        models={"fp32": "recognizer.onnx"},
        template=tuple((float(x), float(y)) for x, y in TEMPLATE),
        embedding_size=SIZE,
        outputs=("embedding",),
        thresholds={"1e-3": 0.5},
    )
    write_manifest(folder, manifest)
    return folder
