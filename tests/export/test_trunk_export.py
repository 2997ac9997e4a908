"""MobileFaceNet, ResNet-34, the three forms of mask and the kept pattern head, folded and as ONNX."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeface.models import FaceNet, build_spec
from edgeface.pruning import prune
from edgeface_export.fold import fold
from edgeface_export.half_arithmetic import write_rounded
from edgeface_export.onnx_export import export_onnx
from edgeface_export.parity import compare, cosines, embed_onnx, to_input
from edgeface_export.precision import to_fp16
from edgeface_runtime.errors import InputError

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

SPECS = {
    "mobilefacenet": build_spec("mobilefacenet", 0.25),
    "mobilefacenet, decoder": build_spec("mobilefacenet", 0.25, mask="decoder", patterns=3),
    "mobilefacenet, vector": build_spec("mobilefacenet", 0.25, mask="vector", patterns=3),
    "resnet34, spatial": build_spec("resnet34", 0.125, mask="spatial", patterns=3),
    "resnet34, stride 2, depthwise": build_spec("resnet34", 0.125, stem_stride=2, head="depthwise"),
    "iresnet18, vector, pool": build_spec("iresnet18", 0.125, mask="vector", head="pool"),
}


@pytest.mark.parametrize("name", SPECS)
def test_folded_gives_the_same(name: str, lived_in: Callable[[FaceNet], FaceNet]) -> None:
    torch.manual_seed(3)
    model = lived_in(FaceNet(SPECS[name]))
    patterns = model.pattern is not None
    x = torch.rand(2, 3, *model.spec.input_size) * 2 - 1
    folded = fold(model)
    assert folded.kept == (("decoder.bn",) if model.spec.mask else ())
    with torch.no_grad():
        before, after = (net.forward_masked(x, patterns=patterns) for net in (model, folded.model))
    assert (before.embedding - after.embedding).abs().max() <= 1e-5 * before.embedding.abs().max()
    if before.mask is not None and after.mask is not None:
        assert (before.mask - after.mask).abs().max() <= 1e-5
    if before.pattern is not None and after.pattern is not None:
        torch.testing.assert_close(after.pattern, before.pattern, rtol=1e-4, atol=1e-5)


def run(path: Path, faces: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": to_input(faces)}), strict=True))


@pytest.mark.parametrize(
    ("arch", "size", "mask"),
    [
        ("mobilefacenet", (112, 96), "decoder"),
        ("mobilefacenet", (112, 96), "vector"),
        ("resnet34", (128, 96), "spatial"),
        ("resnet34", (128, 96), "none"),
    ],
)
def test_a_pruned_one_as_onnx(
    arch: str, size: tuple[int, int], mask: str, lived_in: Callable[[FaceNet], FaceNet], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    patterns = 0 if mask == "none" else 3
    model = prune(
        lived_in(FaceNet(build_spec(arch, 0.25, input_size=size, mask=mask, patterns=patterns))), 0.3, round_to=4
    ).model
    faces = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    path, half = tmp_path / "net.onnx", tmp_path / "half.onnx"
    exported = export_onnx(model, path)
    parity = compare(model, path, faces)
    assert parity.cosine_min > 0.99999
    found = run(path, faces)
    if mask == "none":
        assert exported.outputs == ("embedding",) and parity.covered_share_max_difference is None
    else:
        assert exported.outputs == ("embedding", "covered_share")
        with torch.no_grad():
            values = model.forward_masked(torch.from_numpy(to_input(faces))).mask
        assert values is not None
        share = [1 - face.double().mean().item() for face in values]
        np.testing.assert_allclose(found["covered_share"], share, atol=1e-5)
    assert found["embedding"].shape == (3, model.spec.embedding)
    to_fp16(path, half)
    assert compare(model, half, faces, gate=0.999).cosine_min > 0.999
    write_rounded(half, half)
    assert cosines(found["embedding"], embed_onnx(half, faces, optimise=False)[0]).min() > 0.999


def test_the_pattern_head_is_dropped_unless_kept(
    make_net: Callable[..., FaceNet], faces: np.ndarray, tmp_path: Path
) -> None:
    model = make_net(SPECS["mobilefacenet, decoder"], seed=1)
    plain, kept, half = (tmp_path / name for name in ("plain.onnx", "kept.onnx", "half.onnx"))
    export_onnx(model, plain)
    assert model.pattern is not None
    exported = export_onnx(model, kept, keep_pattern=True)
    assert exported.outputs == ("embedding", "covered_share", "pattern")
    told = {path: {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props} for path in (plain, kept)}
    assert "patterns" not in json.loads(told[plain]["edgeface.arch"])["mask"]
    assert json.loads(told[kept]["edgeface.arch"])["mask"]["patterns"] == 3
    assert not any("pattern" in tensor.name for tensor in onnx.load(str(plain)).graph.initializer)
    found, without = run(kept, faces), run(plain, faces)
    np.testing.assert_allclose(found["embedding"], without["embedding"], atol=1e-6)
    with torch.no_grad():
        logits = model.forward_masked(torch.from_numpy(to_input(faces)), patterns=True).pattern
    assert logits is not None and found["pattern"].shape == (len(faces), 37)
    np.testing.assert_allclose(found["pattern"], torch.softmax(logits, 1).numpy(), atol=1e-5)
    to_fp16(kept, half)
    np.testing.assert_allclose(run(half, faces)["pattern"], found["pattern"], atol=5e-3)
    with pytest.raises(InputError, match="no pattern head to keep"):
        export_onnx(make_net(SPECS["mobilefacenet"]), plain, keep_pattern=True)
