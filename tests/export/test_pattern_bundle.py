"""A bundle that keeps its pattern head: results say which part of a face is covered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeface.models import Checkpoint, CheckpointMeta, FaceNet, iresnet18, with_mask
from edgeface_export.bundle_writer import write_bundle
from edgeface_export.parity import to_input
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.detect import Face
from edgeface_runtime.errors import InputError
from edgeface_runtime.patterns import pattern_words
from edgeface_runtime.recognizer import Recognizer

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


class Whole:
    """The face is the picture."""

    def detect(self, image: np.ndarray) -> list[Face]:
        return [Face(np.array([0, 0, 96, 112], np.float32), TEMPLATE.astype(np.float32), 0.9)]

    def close(self) -> None:
        pass


def test_the_covered_part_is_that_of_the_network(make_net: object, faces: np.ndarray, tmp_path: Path) -> None:
    net: FaceNet = make_net(with_mask(iresnet18(0.125), 0.125, patterns=3), 5)  # type: ignore[operator]
    out = tmp_path / "kept"
    manifest = write_bundle(
        Checkpoint(net, CheckpointMeta()), out, "kept", faces, measure_memory=False, keep_pattern=True
    )
    assert manifest.outputs == ("embedding", "covered_share", "pattern")
    assert open_bundle(out).manifest.arch["mask"]["patterns"] == 3
    with torch.no_grad():
        logits = net.forward_masked(torch.from_numpy(to_input(faces)), patterns=True).pattern
    assert logits is not None
    with Recognizer.from_bundle(out, threads=1) as recognizer:
        recognizer._detector = Whole()
        for face, pattern in zip(faces, logits.argmax(dim=1).tolist(), strict=True):
            found = recognizer.single_face(face)
            assert found.covered_part is not None and found.covered_share is not None
            assert found.covered_part.endswith(pattern_words(pattern, 3))
            assert found.to_dict()["covered_part"] == found.covered_part


def test_there_must_be_a_pattern_head_to_keep(masked: FaceNet, faces: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pattern head to keep"):
        write_bundle(Checkpoint(masked, CheckpointMeta()), tmp_path / "b", "b", faces, keep_pattern=True)
    assert list(tmp_path.iterdir()) == []
