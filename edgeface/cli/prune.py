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
    method: Annotated[str, typer.Option(help="How filters are ranked: l1, l2, bn or taylor (on --data).")] = "l1",
    round_to: Annotated[int, typer.Option(help="Widths become multiples of this.")] = 8,
    data: Annotated[
        Path | None, typer.Option(help="Identity folders to measure on; default for sensitivity: procedural faces.")
    ] = None,
    faces: Annotated[int, typer.Option(help="How many faces are measured on.")] = 32,
    allocation: Annotated[
        str | None, typer.Option(help="How the ratio is shared out: sensitivity (default), uniform or global.")
    ] = None,
    uniform: Annotated[bool, typer.Option("--uniform", help="The same as --allocation uniform.")] = False,
    times: Annotated[int, typer.Option("--steps", help="Remove in so many steps, ranking again between them.")] = 1,
    reconstruct: Annotated[
        int, typer.Option(help="Then refit every layer on so many faces of --data, such as 1000; 0: no.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a checkpoint that is there.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove filters, and to meet a latency whole blocks, so that the network's tensors are really smaller."""
    from edgeface.cli.claim import claim_file
    from edgeface.cli.progress import steps
    from edgeface.cli.prune_latency import LatencyAsked, prune_latency, refuse_both
    from edgeface.cli.refit_faces import judged_and_refit
    from edgeface.models import load_checkpoint
    from edgeface.models.checkpoint import is_checkpoint
    from edgeface.pruning.allocate import allocate
    from edgeface.pruning.groups import groups
    from edgeface.pruning.importance import check_faces, find_method
    from edgeface.pruning.prune import check_settings
    from edgeface.pruning.reconstruct import check_refit, parts
    from edgeface.pruning.run import prune_checkpoint
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    of_ratio = {"--uniform": uniform, "--allocation": allocation, "--steps": times != 1}
    given = [flag for flag, value in of_ratio.items() if value]
    refuse_both(ratio, target_latency, device_profile, given, ["--keep-blocks"] * keep_blocks)
    check_refit(reconstruct, data is not None)
    if target_latency is not None and device_profile is not None:
        asked = LatencyAsked(
            checkpoint=checkpoint,
            out=out,
            target=target_latency,
            profile=device_profile,
            method=method,
            round_to=round_to,
            data=data,
            faces=faces,
            keep_blocks=keep_blocks,
            reconstruct=reconstruct,
            force=force,
        )
        return prune_latency(output, asked)
    assert ratio is not None
    source = load_checkpoint(checkpoint)
    if uniform and allocation not in (None, "uniform"):
        raise InputError(f"--uniform and --allocation {allocation} contradict each other: leave one out")
    shared = "uniform" if uniform else allocation or "sensitivity"
    check_settings(method, shared, times)  # bad settings are refused before any work
    allocate(groups(source.model.spec), ratio, round_to, None)
    check_faces(method, data is not None)
    claim_file(out, "checkpoint", is_checkpoint, force)
    size = source.model.spec.input_size
    ranked, measured = find_method(method).needs_faces, shared == "sensitivity" and ratio > 0
    sample, refit = judged_and_refit(
        data, faces if measured or ranked else None, reconstruct if ratio > 0 else 0, size
    )
    if sample:
        what = " and ".join(word for word, used in (("ranking", ranked), ("sensitivity", measured)) if used)
        output.note(f"{what} on {len(sample.crops)} {sample.source}")
    if reconstruct and not refit:
        output.note("a ratio of 0 removes nothing: nothing is refitted")
    if refit:
        output.note(f"refitting on {len(refit.crops)} {refit.source}")
    total = times * len(groups(source.model.spec)) if measured else 0
    total += len(list(parts(source.model))) + 1 if refit else 0
    with steps("refitting" if refit else "sensitivity", total, quiet) as advance:
        report = prune_checkpoint(
            source,
            ratio,
            out,
            method=method,
            allocation=shared,
            steps=times,
            round_to=round_to,
            faces=sample.crops if sample else None,
            source_of_faces=sample.source if sample else "",
            refit=refit.crops if refit else None,
            progress=advance,
        )
    output.wrote(out)
    if abs(report.achieved - ratio) > 0.02:
        output.note(
            f"ratio {ratio:g} cannot be met in multiples of {round_to}, {report.achieved:.3f} was: "
            "a smaller --round-to comes nearer"
        )
    refitted = len(refit.crops) if refit else 0
    output.data({"checkpoint": str(out), **report.to_dict(), "refitted": refitted})
    how = (
        report.method,
        report.allocation,
        *([f"{times} steps"] if times > 1 else []),
        *([f"refitted on {refitted} faces"] if refitted else []),
    )
    output.table(
        f"ratio {report.requested:g} requested, {report.achieved:.3f} achieved ({', '.join(how)})",
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
