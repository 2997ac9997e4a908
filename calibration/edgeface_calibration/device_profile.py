"""The device profile: what each unit of a network costs at a few widths on one device, and what a network would cost.

A unit's latency between measured widths is interpolated (multilinear, which a convolution's cost is in its channels),
below the smallest continued; a network's is the sum over its units, scaled by what whole networks were seen to take.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.latency import CLOCKS
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import require_file, write_json

__all__ = [
    "Check",
    "Conditions",
    "DeviceProfile",
    "Part",
    "UnitCost",
    "fit_scale",
    "is_profile",
    "read_profile",
    "write_profile",
]

FORMAT = "edgeface-device-profile"
VERSION = 1
Part = tuple[str, tuple[int, ...]]
"""A unit's key and its widths."""


@dataclass(frozen=True)
class Conditions:
    """What a profile holds for."""

    backend: str
    device: str
    """cpu or cuda:N, where it really ran."""
    precision: str
    """fp32 or fp16."""
    threads: int
    """CPU threads; 0: the backend's choice."""
    batch: int
    """Faces in one call."""


@dataclass(frozen=True)
class UnitCost:
    """Latency of one unit over a grid of widths."""

    axes: tuple[tuple[int, ...], ...]
    """The widths measured, ascending, an axis for each of the unit's."""
    ms: tuple[float, ...]
    """Medians in milliseconds, the last axis fastest; never less than 0."""
    iqr_ms: tuple[float, ...]
    """Interquartile ranges of them."""

    def at(self, widths: Sequence[int]) -> float:
        """Milliseconds at any widths up to the largest measured.

        Raises:
            InputError: a width lies beyond what was measured.
        """
        table: NDArray[np.float64] = np.asarray(self.ms, np.float64).reshape([len(axis) for axis in self.axes])
        for place in range(table.ndim):  # more channels never cost less: noise must not make them look so
            table = np.maximum.accumulate(table, place)
        for axis, width in zip(self.axes, widths, strict=True):
            if width > axis[-1]:
                raise InputError(f"{width} channels, and the profile ends at {axis[-1]}: profile this network")
            table = _between(axis, table, width)
        return max(float(table), 0.0)


def _between(axis: tuple[int, ...], table: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """`table` at `width` of its first axis."""
    if len(axis) == 1:
        return np.asarray(table[0])
    upper = min(max(int(np.searchsorted(axis, width)), 1), len(axis) - 1)
    low, high = axis[upper - 1], axis[upper]
    share = (width - low) / (high - low)
    return np.asarray(table[upper - 1] * (1 - share) + table[upper] * share)


@dataclass(frozen=True)
class Check:
    """One whole network, predicted and measured."""

    label: str
    predicted_ms: float
    measured_ms: float
    iqr_ms: float
    fitted: bool
    """Whether the scale was fitted on it."""

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True)
class DeviceProfile:
    """Costs of the units of one network on one device, and how well they add up."""

    network: str
    """The widest network it was made for, in words."""
    conditions: Conditions
    units: dict[str, UnitCost]
    factor: float = 1.0
    """A network takes factor x the sum of its units + offset."""
    offset_ms: float = 0.0
    checks: tuple[Check, ...] = ()
    machine: dict[str, Any] = field(default_factory=dict)
    ran_on: dict[str, Any] = field(default_factory=dict)
    clock: str = "wall"
    """wall, or cpu: the time the timing thread itself computed."""

    def predict(self, parts: Sequence[Part]) -> float:
        """Latency in milliseconds of a network made of these units.

        Raises:
            InputError: a unit was not measured, or not up to its width.
        """
        return self.factor * self.sum_ms(parts) + self.offset_ms

    def sum_ms(self, parts: Sequence[Part]) -> float:
        """The units' latencies added up, before the scale; raises as `predict`."""
        return math.fsum(self.unit_ms(key, widths) for key, widths in parts)

    def unit_ms(self, key: str, widths: Sequence[int]) -> float:
        """One unit's latency, before the scale; raises as `predict`."""
        if key not in self.units:
            raise InputError(f"the device profile ({self.network}) has no unit '{key}': profile this network")
        try:
            return self.units[key].at(widths)
        except InputError as exc:
            raise InputError(f"{key}: {exc}") from exc

    @property
    def error(self) -> float | None:
        """Mean size of the relative error on the networks the scale was not fitted on; None without any."""
        errors = [abs(check.error) for check in self.checks if not check.fitted]
        return sum(errors) / len(errors) if errors else None

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, **asdict(self), "error": self.error}


def fit_scale(sums_ms: Sequence[float], measured_ms: Sequence[float]) -> tuple[float, float]:
    """Factor and offset (ms) by which sums of units become latencies, least squares of the relative error.

    The offset is never negative, which would predict that small networks take less than nothing.
    """
    sums, measured = np.asarray(sums_ms, np.float64), np.asarray(measured_ms, np.float64)
    both = np.stack([sums / measured, 1 / measured], 1)
    factor, offset = np.linalg.lstsq(both, np.ones(len(sums)), rcond=None)[0] if len(sums) > 1 else (0.0, -1.0)
    if offset < 0 or factor <= 0:
        ratio = sums / measured
        factor, offset = float(ratio.sum() / (ratio**2).sum()), 0.0
    return float(factor), float(offset)


def write_profile(path: Path, profile: DeviceProfile) -> None:
    """Write a profile as JSON, atomically."""
    write_json(path, profile.to_dict(), allow_nan=False)


def read_profile(path: Path | str, expect: Mapping[str, Any] | None = None) -> DeviceProfile:
    """Read a profile.

    Args:
        expect: conditions it must have been made under, by their names in `Conditions`.

    Raises:
        InputError: there is no such file, or it was made under other conditions.
        ArtefactError: it is damaged, no device profile, or too new.
    """
    path = Path(path)
    try:
        data = json.loads(require_file(path, "device profile").read_text(encoding="utf-8"))
    except (ValueError, OSError) as exc:
        raise ArtefactError(f"{path} is a damaged device profile ({exc}): make it again") from exc
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtefactError(f"{path} is no device profile: make one with edgeface profile")
    version = data.get("version")
    if version != VERSION:
        cure = "upgrade edgeface" if isinstance(version, int) and version > VERSION else "make it again"
        raise ArtefactError(f"{path} has device profile version {version}, not {VERSION}: {cure}")
    try:
        profile = _profile(data)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        # What Python says of a wrong type is of no use to a reader.
        why = f"no {exc}" if isinstance(exc, KeyError) else exc if type(exc) is ValueError else "of another layout"
        raise ArtefactError(f"{path} is a damaged device profile ({why}): make it again") from exc
    for name, wanted in (expect or {}).items():
        if (found := getattr(profile.conditions, name)) != wanted:
            raise InputError(f"{path} was measured with {name} {found}, not {wanted}: profile that one")
    return profile


def _profile(data: dict[str, Any]) -> DeviceProfile:
    found = DeviceProfile(
        network=str(data["network"]),
        conditions=Conditions(**data["conditions"]),
        units={str(key): _unit(str(key), value) for key, value in data["units"].items()},
        factor=float(data["factor"]),
        offset_ms=float(data["offset_ms"]),
        checks=tuple(Check(**check) for check in data["checks"]),
        machine=dict(data["machine"]),
        ran_on=dict(data["ran_on"]),
        clock=str(data["clock"]),
    )
    if data["clock"] not in CLOCKS or not isinstance(data["network"], str):
        raise ValueError("its clock or network is unknown")
    if not (found.units and math.isfinite(found.factor + found.offset_ms) and found.factor > 0):
        raise ValueError("it has no units, or no scale")
    return found


def _unit(key: str, data: dict[str, Any]) -> UnitCost:
    axes = tuple(tuple(int(width) for width in axis) for axis in data["axes"])
    ms, iqr = (tuple(float(value) for value in data[name]) for name in ("ms", "iqr_ms"))
    if not all(axis and all(a < b for a, b in itertools.pairwise(axis)) for axis in axes):
        raise ValueError(f"{key}: widths do not ascend")
    if len(ms) != math.prod(map(len, axes)) or len(iqr) != len(ms) or not all(0 <= value < math.inf for value in ms):
        raise ValueError(f"{key}: latencies do not fit its widths, or are below 0")
    return UnitCost(axes, ms, iqr)


def is_profile(path: Path) -> bool:
    """Whether a file is a device profile this version reads."""
    try:
        read_profile(path)
    except InputError:
        return False
    return True
