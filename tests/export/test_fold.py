"""Folding: by hand on one filter, equal outputs on every kind of network, the original untouched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from edgeface.models import ArchSpec, FaceNet, MaskSpec, StageSpec, iresnet18, with_mask
from edgeface_export.fold import fold

ODD = ArchSpec(
    name="odd",
    stem=5,
    stages=(StageSpec(7, (3, 9)), StageSpec(11, (5,)), StageSpec(13, (7, 4)), StageSpec(17, (9,))),
    embedding=33,
)
SPECS = {
    "masked": with_mask(iresnet18(0.125), 0.125),
    "pool": replace(iresnet18(0.125), head="pool"),
    "stem stride 2": replace(iresnet18(0.125), stem_stride=2),
    "odd widths": ODD,
    "odd and masked": replace(ODD, mask=MaskSpec(pyramid=6, decoder=5)),
}


def test_one_filter_by_hand(make_net: Callable[..., FaceNet]) -> None:
    model = make_net(iresnet18(0.125))
    conv, bn = model.stem[0], model.stem[1]
    with torch.no_grad():
        conv.weight.fill_(0.5)
        bn.weight[0], bn.bias[0], bn.running_mean[0], bn.running_var[0] = 3.0, 1.0, 0.25, 4.0 - bn.eps
    folded = fold(model).model.stem[0]
    assert isinstance(folded, torch.nn.Conv2d) and folded.bias is not None
    # scale 3 / sqrt(4) = 1.5: weight .5 * 1.5, bias 1 - .25 * 1.5
    assert folded.weight[0].unique().item() == pytest.approx(0.75)
    assert folded.bias[0].item() == pytest.approx(0.625)


@pytest.mark.parametrize("name", SPECS)
def test_equal_outputs(name: str, make_net: Callable[..., FaceNet]) -> None:
    model = make_net(SPECS[name], seed=3)
    x = torch.rand(2, 3, 112, 96) * 2 - 1
    with torch.no_grad():
        before, after = model.forward_masked(x), fold(model).model.forward_masked(x)
    assert (before.embedding - after.embedding).abs().max() <= 1e-5 * before.embedding.abs().max()
    if before.mask is not None and after.mask is not None:
        assert (before.mask - after.mask).abs().max() <= 1e-5
    else:
        assert before.mask is None and after.mask is None


def test_what_stays_is_reported() -> None:
    # 8 blocks x 3, 4 shortcuts, stem, head 2 = 31; the decoder's one cannot go.
    folded = fold(FaceNet(SPECS["masked"]))
    assert (folded.folded, folded.kept) == (31, ("decoder.bn",))
    folded = fold(FaceNet(SPECS["pool"]))
    assert (folded.folded, folded.kept) == (29, ())


def test_original_is_untouched(masked: FaceNet) -> None:
    before = {name: tensor.clone() for name, tensor in masked.state_dict().items()}
    masked.train()
    folded = fold(masked)
    assert masked.training and not folded.model.training
    masked.eval()
    after = masked.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(parameter.dtype == torch.float32 for parameter in folded.model.parameters())
