"""Peak memory is measured: it grows with the model, and holds at least its weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from edgeface.models import FaceNet, build_spec
from edgeface_export.memory import peak_memory
from edgeface_export.onnx_export import export_onnx


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
def test_peak_memory_grows_with_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    peaks = []
    for width in (0.125, 1.0):
        path = tmp_path / f"{width}.onnx"
        export_onnx(FaceNet(build_spec("iresnet18", width)).eval(), path)
        peak = peak_memory(path)
        assert peak is not None and peak > 0.5 * path.stat().st_size
        peaks.append(peak)
    assert peaks[1] > peaks[0]


def test_a_model_that_does_not_run_has_no_figure(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nothing")
    assert peak_memory(path) is None
