"""edgeface inspect: what a file is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeface.cli.output import Json, Output, Quiet

if TYPE_CHECKING:
    from edgeface_runtime.dictionary import MaskDictionary

__all__ = ["register"]


CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""What checkpoints are called; those of torch.save are named as such and refused."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inspect)


def inspect(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|ARCH", help="Checkpoint, bundle, engine, gallery, segmenter, mask dictionary; or a network."
        ),
    ],
    width: Annotated[float, typer.Option(help="Of a network named: scale of every width.")] = 1.0,
    head: Annotated[str | None, typer.Option(help="Of a network named: flatten, pool or depthwise.")] = None,
    stem_stride: Annotated[int | None, typer.Option(help="Of a network named: stride of conv1.")] = None,
    mask: Annotated[str, typer.Option(help="Of a network named: none, decoder, spatial or vector.")] = "none",
    input_size: Annotated[str | None, typer.Option(metavar="HxW", help="Of a network named.")] = None,
    ratio: Annotated[float, typer.Option(help="Of a network named: pruned, every group alike.")] = 0.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a file is, what it costs and where it comes from; or count a network by its name."""
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    if not file.exists() and str(file) in _archs():
        data = _network(str(file), width, head, stem_stride, mask, input_size, ratio)
    else:
        for flag in ("width", "head", "stem_stride", "mask", "input_size", "ratio"):
            source = context.get_parameter_source(flag)
            if source is not None and source.name == "COMMANDLINE":
                raise InputError(
                    f"--{flag.replace('_', '-')} is for networks by name ({', '.join(_archs())}), not files"
                )
        data = _describe(file)
    output.data(data)
    for key, value in data.items():
        entries = _shown(key, value)
        output.line(f"{key:<16} {entries[0]}")
        for entry in entries[1:]:
            output.line(f"{'':<16} {entry}")


def _describe(file: Path) -> dict[str, Any]:
    from edgeface_runtime.errors import InputError

    bundle_like = file.is_dir() or file.suffix == ".tar" or str(file) == "default"
    if not file.exists() and not bundle_like:
        raise InputError(f"file not found: {file}")
    if bundle_like:
        from edgeface_runtime.bundle import open_bundle

        bundle = open_bundle(file, full=True)
        return {"kind": "bundle", "model_id": bundle.model_id, **bundle.manifest.to_dict()}
    if file.suffix == ".npz":
        from edgeface_runtime.dictionary import load_dictionary

        return _dictionary(load_dictionary(file))
    if file.suffix == ".engine":
        from edgeface_runtime.engine import read_sidecar

        return {"kind": "engine", **read_sidecar(file).to_dict()}
    if file.suffix == ".db" or _starts_with(file, b"SQLite format 3"):
        from edgeface_runtime.gallery import Gallery

        with Gallery(file) as gallery:
            people = gallery.people()
            return {
                "kind": "gallery",
                "model_id": gallery.model_id,
                "people": len(people),
                "templates": sum(person.templates for person in people),
                "features": None if gallery.features is None else list(gallery.features),
            }
    if file.suffix not in CHECKPOINTS:
        raise InputError(
            f"{file} is none of edgeface's files: give a checkpoint (.safetensors), a bundle (a folder or .tar), "
            "an engine (.engine), a gallery (.db) or a mask dictionary (.npz)"
        )
    from dataclasses import asdict

    from edgeface.models.segmenter import count_segmenter, is_segmenter, read_segmenter

    if is_segmenter(file):
        shape, told = read_segmenter(file)
        return {"kind": "segmenter", **asdict(count_segmenter(shape)), **asdict(told), "arch": shape.to_dict()}
    from edgeface.models import count
    from edgeface.models.checkpoint import read_meta

    spec, meta = read_meta(file)
    return {"kind": "checkpoint", **asdict(count(spec)), **asdict(meta), "arch": spec.to_dict()}


def _archs() -> tuple[str, ...]:
    """Names of the networks, none where torch is not installed."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return ()
    from edgeface.models import ARCHS

    return tuple(ARCHS)


def _network(
    arch: str,
    width: float,
    head: str | None,
    stem_stride: int | None,
    mask: str,
    input_size: str | None,
    ratio: float,
) -> dict[str, Any]:
    """Counts of a network by name, pruned uniformly at `ratio`: no weights are made."""
    from dataclasses import asdict

    from edgeface.cli.parse import sides
    from edgeface.models import build_spec, count
    from edgeface.pruning.allocate import achieved_ratio, allocate
    from edgeface.pruning.groups import groups, resized

    size = None if input_size is None else sides(input_size, "--input-size")
    spec = build_spec(arch, width, stem_stride=stem_stride, head=head, mask=mask, input_size=size)
    parts = groups(spec)
    widths = allocate(parts, ratio, 8, None)
    spec = resized(spec, widths)
    return {
        "kind": "network",
        **asdict(count(spec)),
        "ratio_requested": ratio,
        "ratio_achieved": round(achieved_ratio(parts, widths), 6),
        "arch": spec.to_dict(),
    }


def _dictionary(dictionary: MaskDictionary) -> dict[str, Any]:
    return {
        "kind": "mask dictionary",
        "masking": dictionary.kind,
        "per_face": dictionary.per_face,
        "input_size": list(dictionary.input_size),
        "features": list(dictionary.masks.shape[1:]),
        "regions": [
            {"name": region.name, "box": list(region.box), "kept": round(float(mask.mean()), 4)}
            for region, mask in zip(dictionary.regions, dictionary.masks, strict=True)
        ],
        "made": dictionary.extra,
    }


def _shown(key: str, value: Any) -> list[str]:
    """The lines of one field."""
    if key == "regions":
        return _regions(value)
    if key != "dictionary" or not isinstance(value, dict):
        return _entries(value)
    regions = [f"region {entry}" for entry in _regions(value.get("regions"))]
    return [*_entries({key: entry for key, entry in value.items() if key != "regions"}), *regions]


def _regions(value: Any) -> list[str]:
    """Regions as a dictionary or a bundle lists them: name, box, and the share of features that stay without it."""
    return [
        f"{entry.get('name')}: {' '.join(f'{edge:g}' for edge in entry.get('box', ()))}, keeps {entry.get('kept')}"
        for entry in value or ()
    ]


def _starts_with(file: Path, signature: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(signature)) == signature


def _entries(value: Any) -> list[str]:
    """One line an entry; what is empty is a dash."""
    if isinstance(value, dict):
        lines = [f"{key}: {entry}" for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        lines = [str(entry) for entry in value]
    else:
        lines = [] if value is None or value == "" else [str(value)]
    return lines or ["-"]
