"""A real recogniser, exported plainly as strangers do, imported: the scores are those of our own export of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeface.models.teacher import read_mobilefacenet
from edgeface_calibration.pairs import read_pairs
from edgeface_export.bundle_writer import write_bundle
from edgeface_export.import_onnx import ImportSettings, import_bundle, open_foreign
from edgeface_runtime.align import template_for
from edgeface_runtime.bundle import InputSpec
from edgeface_runtime.image import read_image
from edgeface_runtime.recognizer import Recognizer

pytestmark = pytest.mark.data
PAIRS = 100
"""Genuine and impostor pairs, each."""


class Theirs(nn.Module):
    """The network as it was published: on (x - 127.5) / 128, NHWC if asked; 112x112 without the outer columns."""

    def __init__(self, net: nn.Module, nhwc: bool = False, wide: bool = False) -> None:
        super().__init__()
        self.net, self.nhwc, self.wide = net, nhwc, wide

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2) if self.nhwc else x
        x = x[:, :, :, 8:104] if self.wide else x
        return self.net(x * (128 / 127.5))


@pytest.fixture(autouse=True)
def no_memory_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a process of its own, and is tested by itself."""
    monkeypatch.setattr("edgeface_export.import_onnx.peak_memory", lambda model: None)


@pytest.fixture(scope="module")
def ours(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = read_mobilefacenet(data_dir / "teacher" / "mobilefacenet_112x96.safetensors")
    out = tmp_path_factory.mktemp("ours") / "bundle"
    write_bundle(checkpoint, out, "teacher", few_faces(data_dir), measure_memory=False)
    return out


def few_faces(data_dir: Path) -> np.ndarray:
    people = sorted((data_dir / "lfw" / "aligned").iterdir())[:8]
    return np.stack([read_image(sorted(person.iterdir())[0]) for person in people])


def imported(data_dir: Path, folder: Path, *, nhwc: bool = False, wide: bool = False) -> Path:
    net = read_mobilefacenet(data_dir / "teacher" / "mobilefacenet_112x96.safetensors").model
    size = (112, 112 if wide else 96)
    sample = torch.rand(1, *size, 3) if nhwc else torch.rand(1, 3, *size)
    path = folder / "theirs.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Theirs(net, nhwc, wide).eval(), (sample,), str(path), dynamo=False, input_names=["data"], opset_version=13
        )
    points = tuple((float(x), float(y)) for x, y in template_for(size))
    faces = few_faces(data_dir)
    if wide:
        faces = np.pad(faces, ((0, 0), (0, 0), (8, 8), (0, 0)))
    settings = ImportSettings("theirs", InputSpec(*size, std=128.0), points)
    import_bundle(open_foreign(path), folder / "bundle", settings, faces, None)
    return folder / "bundle"


@pytest.mark.parametrize("nhwc", [False, True])
def test_lfw_scores_are_those_of_our_own_export(data_dir: Path, ours: Path, tmp_path: Path, nhwc: bool) -> None:
    pairs, _ = read_pairs(data_dir / "lfw" / "pairs.txt", data_dir / "lfw" / "aligned")
    chosen = [pair for kind in (True, False) for pair in [p for p in pairs if p.genuine == kind][:PAIRS]]
    pictures = sorted({path for pair in chosen for path in (pair.a, pair.b)})
    row = {path: number for number, path in enumerate(pictures)}
    crops = np.stack([read_image(path) for path in pictures])
    scores = []
    for bundle in (ours, imported(data_dir, tmp_path, nhwc=nhwc)):
        with Recognizer.from_bundle(bundle, threads=1) as recognizer:
            found = recognizer.embed(crops).vectors
        scores.append(np.array([found[row[pair.a]] @ found[row[pair.b]] for pair in chosen]))
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    genuine = np.array([pair.genuine for pair in chosen])
    assert ((scores[1] > 0.37) == genuine).mean() > 0.97, "and it recognises people"


def test_photographs_come_to_arcfaces_crop(data_dir: Path, ours: Path, tmp_path: Path) -> None:
    """A network of 112x112 that passes over the outer columns sees, on ArcFace's template, what ours sees."""
    photos = sorted((data_dir / "photos" / "lfw").glob("*.jpg"))[:8]
    with (
        Recognizer.from_bundle(ours, threads=1) as one,
        Recognizer.from_bundle(imported(data_dir, tmp_path, wide=True), threads=1) as other,
    ):
        for photo in photos:
            first, second = one.single_face(photo, largest=True), other.single_face(photo, largest=True)
            assert first.embedding @ second.embedding > 0.999, photo
