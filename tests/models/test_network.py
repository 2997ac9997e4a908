"""Shapes, the mask's place, and the spec as data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from edgeface.models import ArchSpec, FaceNet, build_spec
from edgeface_runtime.errors import ArtefactError, InputError


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_stage_outputs_have_the_sizes_of_table_1(stem_stride: int) -> None:
    model = FaceNet(build_spec("iresnet18", 0.125, stem_stride=stem_stride)).eval()
    sizes = []
    for stage in model.stages:
        stage.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 112, 96)).shape == (2, 512)
    assert sizes == [(56, 48), (28, 24), (14, 12), (7, 6)]


def test_the_mask_multiplies_the_top_map(lived_in: Callable[[FaceNet], FaceNet]) -> None:
    torch.manual_seed(0)
    model = lived_in(FaceNet(build_spec("iresnet18", 0.125, mask="decoder")))
    x = torch.randn(2, 3, 112, 96)
    top = []
    model.stages[-1].register_forward_hook(lambda module, inputs, output: top.append(output))
    with torch.no_grad():
        embedding, mask, _ = model.forward_masked(x)
        assert mask is not None
        assert mask.shape == top[0].shape == (2, 64, 7, 6)
        assert 0 < float(mask.min()) <= float(mask.max()) < 1
        assert torch.allclose(embedding, model.head(top[0] * mask))
        assert not torch.allclose(embedding, model.forward_masked(x, use_mask=False).embedding)


def test_spec_survives_json_like_data() -> None:
    spec = build_spec("iresnet50", 0.5, mask="decoder", head="pool", stem_stride=2)
    data = spec.to_dict()
    data["stages"] = [{**stage, "inner": list(stage["inner"])} for stage in data["stages"]]
    assert ArchSpec.from_dict(data) == spec
    del data["stem"]
    with pytest.raises(ArtefactError, match="stem"):
        ArchSpec.from_dict(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"arch": "vgg"}, "unknown --arch"),
        ({"arch": "iresnet50", "width": 0.0}, "--width"),
        ({"arch": "iresnet50", "mask": "magic"}, "--mask"),
        ({"arch": "iresnet50", "head": "x"}, "--head"),
        ({"arch": "iresnet50", "stem_stride": 3}, "--stem-stride"),
    ],
)
def test_impossible_networks_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_spec(**arguments)  # type: ignore[arg-type]
