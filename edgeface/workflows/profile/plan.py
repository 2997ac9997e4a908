"""Which graphs to time for a network: every unit at a handful of widths, and a few whole networks. Needs [train]."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from edgeface.models.spec import ArchSpec
from edgeface.models.units import Unit, units
from edgeface.pruning.depth import removable, without_blocks
from edgeface.pruning.groups import groups, resized
from edgeface.workflows.profile.blocks import INDEX, Blocks, TimedNetwork, TimedUnit
from edgeface_export.block_graphs import baseline_graph, network_graph, unit_graph
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import part_folder, write_json

__all__ = ["PRECISIONS", "export_blocks", "grid", "check_networks", "write_blocks"]

PRECISIONS = ("fp32", "fp16")
SHARES = {1: (0.125, 0.375, 0.625, 1.0), 2: (0.125, 0.375, 0.625, 1.0), 3: (0.125, 0.5, 1.0)}
"""Number of a unit's widths -> shares of the widest that each is measured at."""
MULTIPLE = 8


def grid(widest: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The widths to measure, an ascending axis for each of a unit's."""
    shares = SHARES[len(widest)]
    return tuple(tuple(sorted({_rounded(width, share) for share in shares})) for width in widest)


def _rounded(width: int, share: float) -> int:
    return width if share == 1 else min(width, max(MULTIPLE, round(width * share / MULTIPLE) * MULTIPLE))


def check_networks(spec: ArchSpec) -> list[tuple[str, ArchSpec, bool]]:
    """Label, architecture, and whether the scale is fitted on it: even widths fit, uneven ones and depth check."""
    parts, blocks = groups(spec), removable(spec)
    rng = random.Random(0)

    def even(share: float) -> ArchSpec:
        return resized(spec, {part.name: _rounded(part.width, share) for part in parts})

    def uneven() -> ArchSpec:
        return resized(spec, {part.name: _rounded(part.width, rng.choice((0.3, 0.5, 0.7, 0.9))) for part in parts})

    found = [
        ("whole", spec, True),
        ("widths x .75", even(0.75), True),
        ("widths x .5", even(0.5), True),
        ("widths x .3", even(0.3), True),
        ("uneven widths", uneven(), False),
        ("other uneven widths", uneven(), False),
    ]
    if blocks:
        some = rng.sample(blocks, max(1, len(blocks) // 3))
        fewer = f"{len(some)} {'block' if len(some) == 1 else 'blocks'} less"
        found.append((fewer, without_blocks(spec, some), False))
        found.append((f"{fewer}, uneven widths", without_blocks(uneven(), some), False))
    return found


def write_blocks(spec: ArchSpec, precision: str, folder: Path) -> Blocks:
    """Write all graphs and their index into an empty `folder`.

    Raises:
        InputError: unknown precision, or `folder` cannot be written to.
    """
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision} cannot be profiled: choose one of {', '.join(PRECISIONS)}")
    spec = spec.deployed
    widest: dict[str, Unit] = {}
    for unit in units(spec):
        before = widest.get(unit.key, unit)
        widths = tuple(map(max, unit.widths, before.widths))
        widest[unit.key] = Unit(unit.kind, unit.size, unit.stride, widths, unit.fixed)
    baselines: dict[tuple[tuple[int, int], int], str] = {}
    timed = []
    for number, unit in enumerate(widest.values()):
        axes, files, own = grid(unit.widths), [], []
        for widths in itertools.product(*axes):
            files.append(f"unit{number}_{'_'.join(map(str, widths))}.onnx")
            narrow = Unit(unit.kind, unit.size, unit.stride, widths, unit.fixed)
            (folder / files[-1]).write_bytes(unit_graph(narrow, precision))
            channels = 0 if unit.kind.startswith("stem") else widths[0]
            if (unit.size, channels) not in baselines:
                name = f"base_{unit.size[0]}x{unit.size[1]}_{channels}.onnx"
                (folder / name).write_bytes(baseline_graph(unit.size, channels, precision))
                baselines[unit.size, channels] = name
            own.append(baselines[unit.size, channels])
        timed.append(TimedUnit(unit.key, unit.size, axes, tuple(files), tuple(own)))
    networks = []
    for number, (label, shape, fitted) in enumerate(check_networks(spec)):
        parts = units(shape)
        name = f"network{number}.onnx"
        (folder / name).write_bytes(network_graph(parts, precision))
        described = tuple((unit.key, unit.widths) for unit in parts)
        networks.append(TimedNetwork(label, name, spec.input_size, described, fitted))
    blocks = Blocks(_words(spec), precision, tuple(timed), tuple(networks))
    write_json(folder / INDEX, blocks.to_dict())
    return blocks


def export_blocks(spec: ArchSpec, precision: str, out: Path) -> Blocks:
    """The same into a new folder `out`, all or nothing.

    Raises:
        InputError: `out` is there, or cannot be written.
    """
    if out.exists():
        raise InputError(f"{out} exists: choose another --export")
    with part_folder(out) as part:
        blocks = write_blocks(spec, precision, part)
        whole = part / "whole"
        whole.mkdir()
        for path in [path for path in part.iterdir() if path != whole]:
            path.rename(whole / path.name)
        whole.rename(out)
    return blocks


def _words(spec: ArchSpec) -> str:
    mask = f", mask {spec.mask.kind}" if spec.mask else ""
    return f"{spec.name}, stem {spec.stem}, stages {' '.join(str(stage.out) for stage in spec.stages)}{mask}"
