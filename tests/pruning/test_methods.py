"""Rankings against the truth, which is silencing each channel by itself; and where a group's channels come out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from edgeface.models import ArchSpec, FaceNet, build_spec
from edgeface.pruning import prune
from edgeface.pruning.groups import Group, groups
from edgeface.pruning.importance import METHODS, importance
from edgeface.pruning.outputs import outputs
from edgeface.pruning.silence import readers, silenced
from edgeface.pruning.taylor import taylor
from edgeface_runtime.errors import InputError

NETS: dict[str, ArchSpec] = {
    "bottle, flatten, decoder": build_spec("iresnet18", 0.125, mask="decoder", patterns=3),
    "basic, spatial": build_spec("resnet34", 0.125, mask="spatial"),
    "inverted, depthwise head, vector": build_spec("mobilefacenet", 0.25, mask="vector"),
    "bottle, pool": build_spec("iresnet18", 0.125, head="pool"),
}


@pytest.fixture(scope="module", params=NETS)
def model(request: pytest.FixtureRequest, lived_in: Callable[[FaceNet], FaceNet]) -> FaceNet:
    torch.manual_seed(0)
    return lived_in(FaceNet(NETS[request.param]))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.rand(2, 3, 112, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1


def ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


def rank_correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1])


def costs(model: FaceNet, faces: Tensor, group: Group, channels: list[int]) -> Tensor:
    """1 - cosine with each of the channels silenced by itself."""
    with torch.inference_mode():
        whole, found = model(faces), []
        for channel in channels:
            with silenced(model, {group.name: torch.tensor([channel])}):
                found.append(1 - torch.nn.functional.cosine_similarity(whole, model(faces)).mean())
    return torch.stack(found)


def test_taylor_ranks_channels_as_silencing_each_does(model: FaceNet, faces: Tensor) -> None:
    scores = taylor(model, faces, draws=24)
    assert {name: len(values) for name, values in scores.items()} == {g.name: g.width for g in groups(model.spec)}
    truth, found = {}, {}
    for group in groups(model.spec):
        channels = list(range(0, group.width, max(1, group.width // 4)))
        truth[group.name] = costs(model, faces, group, channels)
        found[group.name] = scores[group.name][channels]
    assert rank_correlation(torch.cat(list(truth.values())), torch.cat(list(found.values()))) > 0.95
    # It is in units of 1 - cosine where a channel is a small part: in the last stage and behind it.
    last = f"stages.{len(model.spec.stages) - 1}"
    for name in (name for name in truth if name.startswith((last, "top", "decoder.inner"))):
        assert float(found[name].sum() / truth[name].sum()) == pytest.approx(1, abs=0.3), name


def test_taylor_has_its_own_seed_and_leaves_no_gradient(model: FaceNet, faces: Tensor) -> None:
    first = taylor(model, faces, draws=1)
    torch.manual_seed(99)
    with torch.inference_mode():  # as `sensitivity` asks for it
        again = taylor(model, faces, draws=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_zeroing_the_outputs_and_what_reads_them_is_silencing(model: FaceNet, faces: Tensor) -> None:
    for group in groups(model.spec):
        lost = torch.tensor([group.width - 1])

        def zero(repeat: int, lost: Tensor = lost):  # type: ignore[no-untyped-def]
            where = (lost[:, None] * repeat + torch.arange(repeat)).flatten()
            return lambda module, inputs, output: output.index_fill(1, where, 0.0)

        places = [(model.get_submodule(name), 1) for name in outputs(model.spec, group)] + readers(model, group.name)
        handles = [module.register_forward_hook(zero(repeat)) for module, repeat in places]
        with torch.inference_mode():
            found = model(faces)
            for handle in handles:
                handle.remove()
            with silenced(model, {group.name: lost}):
                expected = model(faces)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            if group.width > 1:
                assert not torch.allclose(found, model(faces), rtol=1e-4, atol=1e-5), group.name


def test_bn_by_hand() -> None:
    model = FaceNet(build_spec("iresnet18", 0.125, mask="decoder"))
    parts = {part.name: part for part in groups(model.spec)}
    for name, value in (("0.bn3", 3.0), ("1.bn3", -4.0), ("0.shortcut.1", 12.0)):
        model.get_parameter(f"stages.2.{name}.weight").data[5] = value
    for name in ("0.bn2", "0.bn1", "1.bn1"):
        model.get_parameter(f"stages.2.{name}.weight").data.fill_(7.0)
    scores = importance("bn")(model, parts["stages.2.out"])
    assert scores[5] == pytest.approx(13)  # 3, 4, 12: the variances of what is added up add up
    assert scores[0] == pytest.approx(3**0.5)
    assert importance("bn")(model, parts["stages.2.0.inner"]).tolist() == [7.0] * parts["stages.2.0.inner"].width
    # a mask's laterals have no batch norm: their filters' norms stand for it
    for level in range(3):
        model.get_parameter(f"decoder.lateral.{level}.weight").data.zero_()[2, level] = 2.0
    assert importance("bn")(model, parts["decoder.pyramid"])[2] == pytest.approx(12**0.5)


def test_bn_of_a_pair_of_convolutions_is_the_last_one_s() -> None:
    spec = build_spec("mobilefacenet", 0.25)
    parts = {part.name: part for part in groups(spec)}
    assert outputs(spec, parts["stem"]) == ("stem.4",)
    assert outputs(spec, parts["stages.1.2.inner"]) == ("stages.1.2.bn2",)
    assert outputs(spec, parts["stages.2.out"]) == tuple(f"stages.2.{number}.bn3" for number in range(3))
    assert outputs(spec, parts["top"]) == ("top.1",)


def test_every_method_prunes_and_says_so(faces: Tensor, lived_in: Callable[[FaceNet], FaceNet]) -> None:
    torch.manual_seed(0)
    model = lived_in(FaceNet(build_spec("iresnet18", 0.25)))
    kept = {}
    for method in METHODS:
        pruned = prune(model, 0.5, method=method, allocation="uniform", faces=faces)
        assert (pruned.report.method, pruned.report.allocation, pruned.report.steps) == (method, "uniform", 1)
        kept[method] = torch.cat(list(pruned.kept.values())).tolist()
    assert kept["taylor"] != kept["l2"] != kept["bn"]
    with torch.inference_mode():
        away = {
            method: 1
            - torch.nn.functional.cosine_similarity(
                model(faces), prune(model, 0.1, method=method, allocation="uniform", faces=faces).model(faces)
            ).mean()
            for method in ("l1", "taylor")
        }
    assert away["taylor"] < 0.75 * away["l1"]


def test_a_method_that_measures_asks_for_faces() -> None:
    model = FaceNet(build_spec("iresnet18", 0.125))
    with pytest.raises(InputError, match=r"--method taylor ranks filters by what they do to real faces: .* --data"):
        prune(model, 0.5, method="taylor")
