"""A checkpoint or a segmenter: what it is, what it costs, how it was trained, how well it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeface.workflows.inspect.description import Description, Line, entries, millions

__all__ = ["arch_lines", "describe_checkpoint"]


def describe_checkpoint(path: Path) -> Description:
    """Read a checkpoint's or segmenter's metadata; its weights are not loaded.

    Raises:
        ArtefactError: damaged, foreign, or a pickle.
    """
    from edgeface.models.segmenter import count_segmenter, is_segmenter, read_segmenter

    if is_segmenter(path):
        shape, told = read_segmenter(path)
        counts, meta, arch = asdict(count_segmenter(shape)), asdict(told), shape.to_dict()
        kind = "segmenter"
    else:
        from edgeface.models import count
        from edgeface.models.checkpoint import read_meta

        spec, found = read_meta(path)
        counts, meta, arch = asdict(count(spec)), asdict(found), spec.to_dict()
        kind = "checkpoint"
    data = {"kind": kind, **counts, **meta, "arch": arch}
    shown = [(kind, f"{path.name}, {arch.get('name', arch.get('arch'))}"), *_cost(counts, meta)]
    passed = ("ratio_requested", "ratio_achieved", "history", "accuracy", "occluders", "epochs", "faces_seen")
    for key, value in meta.items():
        if key not in passed:
            shown += entries(key, value)
    if meta.get("occluders"):
        shown.append(("occluders", ", ".join(meta["occluders"])))
    shown += [("trained", f"{meta['epochs']} epochs, {meta['faces_seen']} faces seen")]
    shown += [*entries("history", meta.get("history")), *entries("accuracy", _accuracies(meta))]
    return Description(data, [*shown, *arch_lines(arch)])


def _cost(counts: Mapping[str, int], meta: Mapping[str, Any]) -> list[Line]:
    cost = (
        f"{millions(counts['parameters'])} parameters, {millions(counts['macs'])} MACs, {counts['filters']} filters"
    )
    requested = meta.get("ratio_requested")
    cut = f", ratio {requested:g} ({meta['ratio_achieved']:.1%} of the filters removed)" if requested else ""
    return [("cost", cost + cut)]


def _accuracies(meta: Mapping[str, Any]) -> list[str]:
    return [", ".join(f"{key} {value}" for key, value in row.items()) for row in meta.get("accuracy") or ()]


def arch_lines(arch: Mapping[str, Any]) -> list[Line]:
    """An architecture: a stage in a line, runs of equal widths as 14 x 256."""
    lines: list[Line] = []
    plain = {key: value for key, value in arch.items() if key != "stages" and value is not None}
    for number, stage in enumerate(arch.get("stages") or (), 1):
        if not isinstance(stage, Mapping):
            plain["stages"] = arch["stages"]
            break
        words = [
            f"{key} {_runs(value) if isinstance(value, list | tuple) else value}" for key, value in stage.items()
        ]
        lines.append(("network", f"stage {number}: {', '.join(words)}"))
    return [*(("network", f"{key}: {value}") for key, value in plain.items()), *lines]


def _runs(widths: list[Any] | tuple[Any, ...]) -> str:
    parts: list[tuple[Any, int]] = []
    for width in widths:
        if parts and parts[-1][0] == width:
            parts[-1] = (width, parts[-1][1] + 1)
        else:
            parts.append((width, 1))
    return " ".join(f"{count} x {width}" if count > 1 else f"{width}" for width, count in parts)
