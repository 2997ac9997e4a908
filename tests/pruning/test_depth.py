"""Removing blocks: the smaller network is the one with these blocks bypassed, in every form it takes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import onnx
import pytest
import torch

from edgeface.models import CheckpointMeta, FaceNet, build_spec, count, load_checkpoint, save_checkpoint
from edgeface.pruning.depth import bypassed, drop_blocks, removable, without_blocks
from edgeface.workflows.inspect import describe
from edgeface_export.graph import run_graph
from edgeface_export.onnx_export import export_onnx

CASES = [
    ("iresnet50", "decoder", ["stages.1.2", "stages.2.1", "stages.2.5", "stages.3.2"]),
    ("resnet34", "none", ["stages.0.1", "stages.0.2", "stages.3.1"]),
    ("mobilefacenet", "vector", ["stages.1.3", "stages.2.2"]),
]


@pytest.mark.parametrize(("arch", "mask", "blocks"), CASES, ids=[case[0] for case in CASES])
def test_equals_the_network_with_blocks_bypassed(
    arch: str, mask: str, blocks: list[str], lived_in: Callable[[FaceNet], FaceNet]
) -> None:
    torch.manual_seed(0)
    dense = lived_in(FaceNet(build_spec(arch, 0.125, mask=mask)))
    faces = torch.rand(3, 3, 112, 96) * 2 - 1
    shallow = drop_blocks(dense, blocks)
    with torch.inference_mode(), ExitStack() as stack:
        whole = dense(faces)
        for block in blocks:
            stack.enter_context(bypassed(dense, block))
        expected = dense(faces)
        assert torch.allclose(shallow(faces), expected, atol=1e-5)
        assert not torch.allclose(whole, expected, atol=1e-3)
    with torch.inference_mode():
        assert torch.equal(dense(faces), whole)  # closed again
    before, after = (sum(p.numel() for p in net.parameters()) for net in (dense, shallow))
    assert after == count(shallow.spec, patterns=True).parameters < before
    depths = [sum(len(stage.inner) for stage in net.spec.stages) for net in (dense, shallow)]
    assert depths[1] == depths[0] - len(blocks)


def test_checkpoint_inspection_and_onnx_take_it(tmp_path: Path, lived_in: Callable[[FaceNet], FaceNet]) -> None:
    torch.manual_seed(0)
    dense = lived_in(FaceNet(build_spec("iresnet18", 0.125, mask="decoder")))
    shallow = drop_blocks(dense, ["stages.0.1", "stages.2.1"])
    save_checkpoint(tmp_path / "shallow.safetensors", shallow, CheckpointMeta(stage="pruned"))
    again = load_checkpoint(tmp_path / "shallow.safetensors").model
    assert again.spec == shallow.spec == without_blocks(dense.spec, ["stages.0.1", "stages.2.1"])
    assert describe(tmp_path / "shallow.safetensors").data["parameters"] == count(shallow.spec).parameters
    path = export_onnx(again, tmp_path / "shallow.onnx").path
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert kinds.count("Add") == 6 + 2  # one a block, and the pyramid's
    faces = torch.rand(3, 3, 112, 96) * 2 - 1
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(shallow(faces))
    found = torch.from_numpy(run_graph(path, faces.numpy(), "embedding"))
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_block_whose_shortcut_is_no_identity_stays() -> None:
    spec = build_spec("iresnet18", 0.125)
    assert removable(spec) == [f"stages.{index}.1" for index in range(4)]
    with pytest.raises(ValueError, match=r"stages\.1\.0 cannot be removed"):
        without_blocks(spec, ["stages.1.0"])
