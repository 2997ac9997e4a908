"""The device profile: what it predicts, by hand; and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeface_calibration.device_profile import (
    Check,
    Conditions,
    DeviceProfile,
    UnitCost,
    fit_scale,
    is_profile,
    read_profile,
    write_profile,
)
from edgeface_runtime.errors import ArtefactError, InputError

PROFILE = DeviceProfile(
    "a network",
    Conditions("onnxruntime", "cpu", "fp32", 1, 1),
    {
        "stem": UnitCost(((8, 16),), (1.0, 2.0), (0.1, 0.1)),
        "block": UnitCost(((8, 16), (10, 20, 40)), (1, 2, 4, 2, 4, 8), (0,) * 6),
    },
    factor=2.0,
    offset_ms=0.5,
    checks=(Check("a", 11.0, 10.0, 0.1, True), Check("b", 9.0, 10.0, 0.1, False), Check("c", 10.3, 10.0, 0.1, False)),
)


def test_between_measured_widths_is_multilinear() -> None:
    assert PROFILE.unit_ms("stem", (12,)) == pytest.approx(1.5)
    assert PROFILE.unit_ms("block", (16, 40)) == 8
    assert PROFILE.unit_ms("block", (12, 15)) == pytest.approx(1.5 * 1.5)
    product = UnitCost(((8, 24), (8, 64)), (64, 512, 192, 1536), (0,) * 4)  # ms = product of the widths
    assert product.at((17, 33)) == pytest.approx(17 * 33)


def test_below_the_smallest_width_the_line_goes_on_but_not_below_nothing() -> None:
    assert PROFILE.unit_ms("stem", (4,)) == pytest.approx(0.5)
    steep = UnitCost(((8, 16),), (0.1, 2.0), (0, 0))
    assert steep.at((1,)) == 0.0


def test_noise_never_makes_more_channels_cheaper() -> None:
    noisy = UnitCost(((8, 16, 24),), (1.0, 3.0, 2.0), (0,) * 3)
    assert noisy.at((20,)) == noisy.at((24,)) == 3.0


def test_a_network_is_its_units_scaled() -> None:
    assert PROFILE.predict([("stem", (16,)), ("block", (16, 20)), ("block", (8, 10))]) == 2 * (2 + 4 + 1) + 0.5
    assert PROFILE.error == pytest.approx((0.1 + 0.03) / 2)  # of the networks nothing was fitted on


def test_what_was_not_measured_is_refused() -> None:
    with pytest.raises(InputError, match=r"no unit 'head'.*profile this network"):
        PROFILE.predict([("head", (16,))])
    with pytest.raises(InputError, match="block: 41 channels, and the profile ends at 40"):
        PROFILE.predict([("block", (16, 41))])


def test_the_scale_is_found_again() -> None:
    sums = [1.0, 4.0, 9.0]
    assert fit_scale(sums, [0.9 * value + 0.3 for value in sums]) == pytest.approx((0.9, 0.3))
    factor, offset = fit_scale(sums, [0.9 * value - 0.3 for value in sums])
    assert offset == 0 and 0.6 < factor < 0.9  # never less than nothing for a small network
    assert fit_scale([2.0], [1.0]) == (0.5, 0.0)


def test_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    write_profile(path, PROFILE)
    assert read_profile(path, {"backend": "onnxruntime", "precision": "fp32"}) == PROFILE
    assert is_profile(path)
    with pytest.raises(InputError, match="measured with backend onnxruntime, not tensorrt"):
        read_profile(path, {"backend": "tensorrt"})


def spoil(data: dict[str, Any], *path: str, value: Any) -> str:
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "version 2, not 1: upgrade edgeface"),
        (("format",), "edgeface-blocks", "is no device profile: make one with edgeface profile"),
        (("units", "stem", "ms"), [1.0], "damaged device profile.*latencies do not fit"),
        (("units", "stem", "axes"), [[16, 8]], "damaged device profile.*do not ascend"),
        (("units", "stem", "ms"), ["a", 1], "damaged device profile"),
        (("units",), {}, "damaged device profile.*no units"),
        (("factor",), -1, "damaged device profile"),
        (("conditions",), {"backend": "onnxruntime"}, "damaged device profile"),
    ],
)
def test_a_damaged_or_newer_one_is_refused(tmp_path: Path, path: tuple[str, ...], value: Any, message: str) -> None:
    file = tmp_path / "profile.json"
    file.write_text(spoil(json.loads(json.dumps(PROFILE.to_dict())), *path, value=value))
    with pytest.raises(ArtefactError, match=message):
        read_profile(file)
    assert not is_profile(file)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    write_profile(file, replace(PROFILE, network="cut"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ArtefactError, match="damaged device profile"):
        read_profile(file)
    with pytest.raises(InputError, match="device profile not found"):
        read_profile(tmp_path / "none.json")
