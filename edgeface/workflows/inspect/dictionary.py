"""A mask dictionary: the regions of the face, and how much each leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeface.workflows.inspect.description import Description, entries, region_lines
from edgeface_runtime.dictionary import load_dictionary

__all__ = ["describe_dictionary"]

SHOWN = ("tau", "data", "faces", "network", "network_sha256")
"""Of how it was made; `--json` has all."""


def describe_dictionary(path: Path) -> Description:
    """Load a dictionary. Raises as `load_dictionary` does."""
    dictionary = load_dictionary(path)
    regions = [
        {"name": region.name, "box": list(region.box), "kept": round(float(mask.mean()), 4)}
        for region, mask in zip(dictionary.regions, dictionary.masks, strict=True)
    ]
    data: dict[str, Any] = {
        "kind": "mask dictionary",
        "masking": dictionary.kind,
        "per_face": dictionary.per_face,
        "input_size": list(dictionary.input_size),
        "features": list(dictionary.masks.shape[1:]),
        "regions": regions,
        "made": dictionary.extra,
    }
    where = "on each face's landmarks" if dictionary.per_face else "at fixed places"
    height, width = dictionary.input_size
    lines = [
        ("mask dictionary", f"{dictionary.kind}: {len(regions)} regions {where}"),
        ("input", f"{height} high, {width} wide"),
        ("features", " x ".join(map(str, data["features"]))),
        *region_lines("regions", regions),
        *entries("made", {key: dictionary.extra[key] for key in SHOWN if key in dictionary.extra}),
    ]
    return Description(data, lines)
