"""A dictionary model exported and run on the device runtime: its results are those of the network in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgeface.models import Checkpoint, CheckpointMeta, FaceNet, iresnet18
from edgeface_export import dictionary_export
from edgeface_export.bundle_writer import write_bundle
from edgeface_export.dictionary_export import DictionaryParts
from edgeface_export.graph import write_graph
from edgeface_export.int8_export import Int8Settings
from edgeface_export.parity import to_input
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.detect import Face
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.errors import ArtefactError, GateError, InputError
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.regions import Region

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

REGIONS = (Region("upper", (0, 0, 96, 56)), Region("lower", (0, 56, 96, 112)))


class White(nn.Module):
    """A segmenter that calls white pixels covered."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid((self.net(x).amin(dim=1, keepdim=True) - 0.95) * 300)


def write_segmenter(path: Path, faces: np.ndarray) -> dict[str, int]:
    write_graph(White().eval(), torch.zeros(2, 3, 112, 96), path, "white", ("covered",))
    return {"compared": len(faces)}


def masks(*shape: int) -> MaskDictionary:
    keep = np.random.default_rng(1).random((2, *shape)) < 0.75
    return MaskDictionary("lm2", REGIONS, keep, (112, 96), extra={"tau": 0.25})


@pytest.fixture(scope="module")
def plain(make_net: object) -> FaceNet:
    return make_net(iresnet18(0.125), 3)  # type: ignore[operator]


@pytest.fixture(scope="module")
def parts(plain: FaceNet) -> DictionaryParts:
    return DictionaryParts(masks(*dictionary_export.feature_shape(plain)), write_segmenter, (112, 96), {"arch": "w"})


@pytest.fixture(scope="module")
def bundle(
    plain: FaceNet, parts: DictionaryParts, faces: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "dictionary"
    int8 = Int8Settings(faces, "the same faces", "minmax")
    write_bundle(Checkpoint(plain, CheckpointMeta()), out, "d", faces, ("fp16", "int8"), dictionary=parts, int8=int8)
    return out


PARTS = ("recognizer", "trunk", "head")


class Whole:
    """The face is the picture."""

    def detect(self, image: np.ndarray) -> list[Face]:
        return [Face(np.array([0, 0, 96, 112], np.float32), TEMPLATE.astype(np.float32), 0.9)]

    def close(self) -> None:
        pass


@pytest.fixture(params=["fp32", "fp16", "int8"])
def recognizer(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Recognizer]:
    with Recognizer.from_bundle(bundle, precision=request.param, threads=1) as loaded:
        loaded._detector = Whole()
        yield loaded


def in_torch(net: FaceNet, face: np.ndarray, fdm: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        top = net.top_map(torch.from_numpy(to_input(face[None])))
        vector = net.head(top * torch.from_numpy(fdm))[0].numpy()
    return vector / np.linalg.norm(vector)


def test_what_the_bundle_says(bundle: Path, plain: FaceNet) -> None:
    opened = open_bundle(bundle, full=True)
    manifest = opened.manifest
    parts = {f"{part}{kind}.onnx" for part in PARTS for kind in ("", ".fp16", ".int8", ".int8.cpu")}
    assert set(manifest.files) == parts | {"dictionary.npz", "segmenter.onnx"}
    assert (manifest.masking, manifest.outputs) == ("lm2", ("embedding",))
    entry = manifest.extra["dictionary"]
    assert (entry["kind"], entry["tau"], entry["features"]) == ("lm2", 0.25, [64, 7, 6])
    assert entry["discarded"] == "zero"
    assert entry["regions"][1]["name"] == "lower" and entry["regions"][1]["box"] == [0, 56, 96, 112]
    assert entry["segmenter"] == {"arch": "w", "compared": 6}
    assert 0.7 < entry["regions"][1]["kept"] < 0.8
    for part in ("trunk", "head", "masked"):
        assert 0.999999 < entry["parity"]["fp32"][f"{part}_cosine_min"] < 1.000001
        assert 0.999 < entry["parity"]["fp16"][f"{part}_cosine_min"] < 1.000001
        assert 0.98 < entry["parity"]["int8-cpu"][f"{part}_cosine_min"] < 0.9999
    for name, given, gives in (("trunk", "input", "features"), ("head", "features", "embedding")):
        graph = onnx.load(str(bundle / f"{name}.onnx")).graph
        assert ([graph.input[0].name], [graph.output[0].name]) == ([given], [gives])
        assert not [node for node in graph.node if node.op_type == "BatchNormalization"]
        assert graph.input[0].type.tensor_type.shape.dim[0].dim_param


@pytest.mark.parametrize(("cover", "regions"), [((), []), ((0,), [0]), ((1,), [1]), ((0, 1), [0, 1])])
def test_matching_on_the_device_is_that_of_the_network(
    recognizer: Recognizer,
    plain: FaceNet,
    parts: DictionaryParts,
    faces: np.ndarray,
    tmp_path: Path,
    cover: tuple[int, ...],
    regions: list[int],
) -> None:
    faces = np.minimum(faces, 235)
    probe = faces[2].copy()
    for part in cover:
        probe[56 * part + 8 : 56 * part + 48] = 255
    fdm = np.asarray(parts.masks.masks[regions].all(axis=0))
    with recognizer.open_gallery(tmp_path / "g.db", create=True) as gallery:
        for number, face in enumerate(faces):
            recognizer.enroll(gallery, f"person {number}", [face], accept_poor=True)
        found = recognizer.identify(probe, gallery, top=6, threshold=0.5).faces[0]
    near = 0.02 if recognizer.precision == "int8" else 1e-3
    assert found.discarded == tuple(REGIONS[part].name for part in cover)
    wanted = {
        f"person {number}": float(in_torch(plain, probe, fdm) @ in_torch(plain, face, fdm))
        for number, face in enumerate(faces)
    }
    assert {candidate.name: candidate.score for candidate in found.candidates} == pytest.approx(wanted, abs=near)
    found_score = recognizer.verify(probe, faces[2], threshold=0.5).score
    assert found_score == pytest.approx(wanted["person 2"], abs=near)


def test_what_does_not_fit_is_refused(
    plain: FaceNet, masked: FaceNet, parts: DictionaryParts, tmp_path: Path
) -> None:
    faces = np.zeros((1, 112, 96, 3), np.uint8)
    small = replace(parts.masks, masks=np.ones((2, 32, 7, 6), bool))
    other = replace(parts.masks, input_size=(128, 96))
    for net, changed, message in (
        (plain, replace(parts, masks=small), "masks features of 32x7x6, the network has 64x7x6"),
        (plain, replace(parts, masks=other), "is for faces of 128x96, the network takes 112x96"),
        (plain, replace(parts, segmenter_size=(128, 96)), "--segmenter is for faces of 128x96"),
        (masked, parts, "has a mask of its own"),
    ):
        with pytest.raises(InputError, match=message) as info:
            write_bundle(Checkpoint(net, CheckpointMeta()), tmp_path / "b", "b", faces, dictionary=changed)
        assert "\n" not in str(info.value)
    assert list(tmp_path.iterdir()) == []


def test_parts_that_differ_and_segmenters_that_are_none_leave_nothing(
    plain: FaceNet, parts: DictionaryParts, faces: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_logits(path: Path, faces: np.ndarray) -> dict[str, int]:
        net = nn.Sequential(nn.Conv2d(3, 1, 1))
        write_graph(net.eval(), torch.zeros(2, 3, 112, 96), path, "logits", ("covered",))
        return {}

    arguments = (plain, tmp_path, replace(parts, write_segmenter=write_logits), faces, ("fp32",))
    dictionary_export.write_parts(plain, tmp_path, 18)
    with pytest.raises(GateError, match="fp32 trunk features differ"):
        dictionary_export.export_dictionary(*arguments, 1.1)
    with pytest.raises(ArtefactError, match="not probabilities"):
        dictionary_export.export_dictionary(*arguments, 0.999)
