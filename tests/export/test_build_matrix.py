"""Every precision of a whole and of a halved network is built by TensorRT-RTX, and is what it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeface.models import FaceNet
from edgeface.pruning import prune
from edgeface_calibration.int8_ranges import measure_ranges
from edgeface_export.build import BuildSettings, build_engine, prepare_build
from edgeface_export.int8 import layers, to_int8
from edgeface_export.onnx_export import export_onnx
from edgeface_export.parity import load_graph, to_input
from edgeface_export.precision import to_fp16
from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.engine import read_sidecar
from edgeface_runtime.errors import EngineError

pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install 'edgeface[rtx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

RATIOS = (0.0, 0.5)
COMPUTES = {"fp32": "fp32", "fp16": "fp16", "int8": "int8", "int8+fp16": "int8"}


@pytest.fixture(scope="module")
def graphs(
    masked: FaceNet, masked_onnx: Path, faces: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[float, str], Path]:
    """(Ratio, precision) -> graph."""
    folder = tmp_path_factory.mktemp("matrix")
    made = {}
    for ratio in RATIOS:
        paths = {precision: folder / f"{ratio}-{precision}.onnx" for precision in EXPORTED}
        if ratio:
            export_onnx(prune(masked, ratio).model, paths["fp32"])
        else:
            paths["fp32"] = masked_onnx
        ranges = measure_ranges(paths["fp32"], (to_input(faces[:2]),), "minmax")
        to_fp16(paths["fp32"], paths["fp16"])
        to_int8(paths["fp32"], paths["int8"], ranges, "tensorrt")
        to_fp16(paths["int8"], paths["int8+fp16"])
        made |= {(ratio, precision): path for precision, path in paths.items()}
    return made


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("precision", EXPORTED)
def test_built_as_what_it_is(
    ratio: float, precision: str, graphs: dict[tuple[float, str], Path], tmp_path: Path
) -> None:
    graph, out = graphs[ratio, precision], tmp_path / "a.engine"
    prepared = prepare_build(graph, "tensorrt-rtx", BuildSettings(precision))
    # Counted in the ONNX file: every convolution and matrix product computes in what the precision says.
    assert len(prepared.types.computing) == len(layers(load_graph(graph)))
    assert set(prepared.types.computing.values()) == {COMPUTES[precision]}
    built = build_engine(graph, out, "tensorrt-rtx", BuildSettings(precision, max_batch=4))
    assert (built.precision, built.fp32_layers, read_sidecar(out).precision) == (precision, (), precision)
    kinds = set(built.layers) - {"fp32"}
    assert (
        kinds
        == {
            "fp32": set(),
            "fp16": {"fp16"},
            "int8": {"int8", "quantize"},
            "int8+fp16": {"int8", "quantize", "fp16"},
        }[precision]
    )


@pytest.mark.parametrize("asked", EXPORTED)
def test_no_precision_passes_for_another(asked: str, graphs: dict[tuple[float, str], Path], tmp_path: Path) -> None:
    for precision in EXPORTED:
        if precision != asked:
            with pytest.raises(EngineError, match=f"is an {precision.replace('+', '.')} graph"):
                prepare_build(graphs[0.5, precision], "tensorrt-rtx", BuildSettings(asked))


def test_the_halved_engine_is_smaller(graphs: dict[tuple[float, str], Path], tmp_path: Path) -> None:
    sizes = {}
    for ratio in RATIOS:
        out = tmp_path / f"{ratio}.engine"
        build_engine(graphs[ratio, "fp16"], out, "tensorrt-rtx", BuildSettings("fp16"))
        sizes[ratio] = out.stat().st_size
    assert sizes[0.5] < 0.7 * sizes[0.0]
