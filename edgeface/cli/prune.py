"""edgeface prune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(prune)


def prune(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="Checkpoint to prune (.safetensors).")],
    out: Annotated[Path, typer.Option(help="Where to write the pruned checkpoint.")],
    ratio: Annotated[
        float | None, typer.Option(help="Share of convolution filters to remove, 0 to 0.9.", show_default=False)
    ] = None,
    target_latency: Annotated[
        str | None, typer.Option(help="In place of a ratio: a latency to meet, such as 4ms or 800us.")
    ] = None,
    device_profile: Annotated[
        Path | None, typer.Option(help="What the network's parts cost on the device (edgeface profile).")
    ] = None,
    keep_blocks: Annotated[
        bool, typer.Option("--keep-blocks", help="To meet a latency only narrow: no whole block goes.")
    ] = False,
    method: Annotated[str, typer.Option(help="How filters are ranked: l1 or l2.")] = "l1",
    round_to: Annotated[int, typer.Option(help="Widths become multiples of this.")] = 8,
    data: Annotated[
        Path | None, typer.Option(help="Identity folders to measure sensitivity on; default: procedural faces.")
    ] = None,
    faces: Annotated[int, typer.Option(help="How many faces sensitivity is measured on.")] = 32,
    uniform: Annotated[bool, typer.Option("--uniform", help="The same ratio everywhere, no sensitivity.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a checkpoint that is there.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove filters, and to meet a latency whole blocks, so that the network's tensors are really smaller."""
    from edgeface.cli.claim import claim_file
    from edgeface.cli.progress import steps
    from edgeface.cli.prune_latency import LatencyAsked, prune_latency, refuse_both
    from edgeface.data.sample import sample_faces
    from edgeface.models import load_checkpoint
    from edgeface.models.checkpoint import is_checkpoint
    from edgeface.pruning.allocate import allocate
    from edgeface.pruning.groups import groups
    from edgeface.pruning.importance import importance
    from edgeface.pruning.run import prune_checkpoint

    output = Output(json, quiet)
    refuse_both(ratio, target_latency, device_profile, ["--uniform"] * uniform, ["--keep-blocks"] * keep_blocks)
    if target_latency is not None and device_profile is not None:
        asked = LatencyAsked(
            checkpoint, out, target_latency, device_profile, method, round_to, data, faces, keep_blocks, force
        )
        return prune_latency(output, asked)
    assert ratio is not None
    source = load_checkpoint(checkpoint)
    importance(method)  # bad settings are refused before any work
    allocate(groups(source.model.spec), ratio, round_to, None)
    claim_file(out, "checkpoint", is_checkpoint, force)
    size = source.model.spec.input_size
    sample = None if uniform or ratio == 0 else sample_faces(data, faces, size=size)
    if sample:
        output.note(f"sensitivity on {len(sample.crops)} {sample.source}")
    with steps("sensitivity", len(groups(source.model.spec)) if sample else 0, quiet) as advance:
        report = prune_checkpoint(
            source,
            ratio,
            out,
            method=method,
            round_to=round_to,
            faces=sample.crops if sample else None,
            source_of_faces=sample.source if sample else "",
            progress=advance,
        )
    output.wrote(out)
    if abs(report.achieved - ratio) > 0.02:
        output.note(
            f"ratio {ratio:g} cannot be met in multiples of {round_to}, {report.achieved:.3f} was: "
            "a smaller --round-to comes nearer"
        )
    output.data({"checkpoint": str(out), **report.to_dict()})
    output.table(
        f"ratio {report.requested:g} requested, {report.achieved:.3f} achieved ({report.method})",
        ("group", "before", "after", "sensitivity"),
        [
            *(
                (
                    group.name,
                    group.before,
                    group.after,
                    "" if group.sensitivity is None else f"{group.sensitivity:.4f}",
                )
                for group in report.groups
            ),
            ("filters", report.before.filters, report.after.filters, ""),
            ("parameters", report.before.parameters, report.after.parameters, ""),
            ("MACs", report.before.macs, report.after.macs, ""),
        ],
    )
