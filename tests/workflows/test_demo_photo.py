"""The demo's photographs: the default model knows whom it was shown, and says *unknown* of anybody else."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from edgeface.data.synthetic import write_synthetic
from edgeface.workflows.demo_photo import recognise_photos

pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'edgeface[cpu]'")
pytest.importorskip("skimage", reason="needs scikit-image: pip install 'edgeface[demo]'")
pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'edgeface[plot]'")


def test_whom_the_default_model_knows(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "people", 5, 2)
    found = recognise_photos(tmp_path / "people", tmp_path / "out")
    assert found.people == 6 and found.probes.keys() == {"clean", "masked", "stranger", "stranger masked"}
    for name, probe in found.probes.items():
        (face,) = [face for face in probe.result["faces"] if face["candidates"]][:1]
        best = face["candidates"][0]
        known = not name.startswith("stranger")
        assert face["match"] == ("astronaut" if known else None), name
        assert (best["score"] >= found.threshold) == known and probe.words.startswith("unknown") != known
        assert (tmp_path / "out" / probe.result["source"]).is_file()
    assert cv2.imread(str(found.picture)).shape[0] == 512
