"""A network's units: which there are, and that equal places share a key."""

from __future__ import annotations

from edgeface.models import build_spec
from edgeface.models.units import units


def test_the_improved_network_has_one_key_a_place() -> None:
    found = units(build_spec("iresnet50", mask="decoder"))
    assert len(found) == 1 + 3 + 4 + 14 + 3 + 3 + 3 + 1  # stem, blocks, laterals, rest of the mask, head
    middle = [unit for unit in found if unit.key == "bottle 14x12 stride 1"]
    assert [unit.widths for unit in middle] == [(256, 128)] * 13
    (first,) = [unit for unit in found if unit.key == "bottle first 28x24 stride 2"]
    assert first.widths == (128, 128, 256)
    assert found[-1].key == "head flatten 7x6 stride 1 to 512" and found[-1].widths == (512,)
    assert [unit.widths for unit in found if unit.kind.startswith("lateral")] == [(128, 256), (256, 256), (512, 256)]


def test_sizes_follow_the_strides_of_the_stem_and_of_inverted_stages() -> None:
    assert [u.size for u in units(build_spec("iresnet18", stem_stride=2)) if u.kind.endswith("first")] == [
        (56, 48),
        (56, 48),
        (28, 24),
        (14, 12),
    ]
    mobile = units(build_spec("mobilefacenet"))
    assert [u.size for u in mobile if u.kind == "inverted first"] == [(56, 48), (28, 24), (14, 12)]
    assert mobile[0].kind == "stem depthwise" and mobile[-2].key == "top 7x6 stride 1"
