"""The part of edgeface prune that meets a latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeface.cli.output import Output
    from edgeface.pruning.latency.report import LatencyReport

__all__ = ["LatencyAsked", "prune_latency", "refuse_both"]


@dataclass(frozen=True)
class LatencyAsked:
    """What the flags say."""

    checkpoint: Path
    out: Path
    target: str
    profile: Path
    method: str
    round_to: int
    data: Path | None
    faces: int
    keep_blocks: bool
    reconstruct: int
    force: bool


def refuse_both(
    ratio: float | None,
    target: str | None,
    profile: Path | None,
    of_ratio: Sequence[str],
    of_latency: Sequence[str],
) -> None:
    """Raise InputError unless the flags ask for a ratio, or for a latency with a profile.

    Args:
        of_ratio: flags that were given and go with a ratio alone.
        of_latency: and those that go with a latency alone.
    """
    from edgeface_runtime.errors import InputError

    if ratio is None and target is None:
        raise InputError("give --ratio, or --target-latency with --device-profile")
    if ratio is not None and (target is not None or profile is not None):
        other = "--device-profile" if target is None else "--target-latency"
        raise InputError(f"--ratio and {other} contradict each other: leave one out")
    if (target is None) != (profile is None):
        missing = "--device-profile (made by edgeface profile)" if profile is None else "--target-latency"
        raise InputError(f"{missing} is missing: a latency is met by a profile of the device")
    if target is not None and of_ratio:
        raise InputError(f"{of_ratio[0]} goes with --ratio, not with --target-latency")
    if target is None and of_latency:
        raise InputError(f"{of_latency[0]} goes with --target-latency, not with --ratio")


def prune_latency(output: Output, asked: LatencyAsked) -> None:
    """Prune to a latency and say what was done.

    Raises:
        InputError: a flag or file that cannot be used, or a target that cannot be reached.
    """
    from edgeface.cli.claim import claim_file
    from edgeface.cli.parse import milliseconds
    from edgeface.cli.progress import steps
    from edgeface.cli.refit_faces import judged_and_refit
    from edgeface.models import load_checkpoint, save_checkpoint
    from edgeface.models.checkpoint import is_checkpoint
    from edgeface.pruning.importance import find_method
    from edgeface.pruning.latency import prune_checkpoint_to_latency
    from edgeface.pruning.latency.choices import predicted_ms, reachable_ms, shown_ms
    from edgeface.pruning.latency.halfway import STEPS
    from edgeface.pruning.latency.losses import loss_steps
    from edgeface.pruning.reconstruct import parts
    from edgeface_calibration.device_profile import read_profile
    from edgeface_runtime.errors import InputError

    target = milliseconds(asked.target, "--target-latency")
    if asked.round_to < 1:
        raise InputError(f"--round-to must be at least 1, got {asked.round_to}")
    if find_method(asked.method).needs_faces:
        raise InputError(f"--method {asked.method} goes with --ratio, not with --target-latency")
    profile = read_profile(asked.profile)
    source = load_checkpoint(asked.checkpoint)
    spec = source.model.spec
    now = predicted_ms(profile, spec)
    claim_file(asked.out, "checkpoint", is_checkpoint, asked.force)
    if target >= now:
        save_checkpoint(asked.out, source.model, source.meta)
        output.wrote(asked.out)
        output.data({"checkpoint": str(asked.out), "target_ms": target, "predicted_ms": now, "removed": False})
        output.line(f"{now:.3g} ms are predicted as it is, no more than {target:g} ms: nothing was removed")
        return
    least = reachable_ms(spec, profile, asked.round_to, asked.keep_blocks)
    if target < least:
        raise InputError(
            f"--target-latency {target:g} ms cannot be reached: {shown_ms(least)} ms can, by {asked.profile}; "
            "take that and prune what it gives again, or start from a smaller network"
        )
    sample, refit = judged_and_refit(asked.data, asked.faces, asked.reconstruct, spec.input_size)
    assert sample is not None
    output.note(f"losses on {len(sample.crops)} {sample.source}")
    if refit:
        output.note(f"refitting on {len(refit.crops)} others")
    total = STEPS * (loss_steps(source.model) + (len(list(parts(source.model))) + 1 if refit else 0))
    with steps("losses and refitting" if refit else "losses", total, output.quiet) as advance:
        report = prune_checkpoint_to_latency(
            source,
            profile,
            target,
            asked.out,
            sample.crops,
            sample.source,
            method=asked.method,
            round_to=asked.round_to,
            keep_blocks=asked.keep_blocks,
            refit=refit.crops if refit else None,
            progress=advance,
        )
    output.wrote(asked.out)
    error = None if profile.error is None else round(profile.error, 4)
    output.data(
        {
            "checkpoint": str(asked.out),
            "removed": True,
            "profile_error": error,
            **report.to_dict(),
            "refitted": len(refit.crops) if refit else 0,
        }
    )
    _show(output, report)
    on = profile.conditions
    threads = f"{on.threads} threads" if on.threads != 1 else "1 thread"
    where = f"{on.backend} on {on.device}, {on.precision}, {threads}, batch {on.batch}"
    output.line(f"profile: {where}, {profile.machine.get('processor', 'unknown processor')}")
    if error is not None:
        output.line(f"the profile's predictions were {error:.1%} off on average: measure with edgeface benchmark")


def _show(output: Output, report: LatencyReport) -> None:
    output.table(
        f"{report.predicted_ms:.3f} ms predicted of {report.target_ms:g} asked, {report.before_ms:.3f} before "
        f"({report.method}, ratio {report.achieved_ratio:.3f})",
        ("group", "before", "after", "loss"),
        [
            *((g.name, g.before, g.after or "block removed", f"{g.loss:.4f}") for g in report.groups),
            ("filters", report.before.filters, report.after.filters, ""),
            ("parameters", report.before.parameters, report.after.parameters, ""),
            ("MACs", report.before.macs, report.after.macs, ""),
        ],
    )
    blocks = ", ".join(report.blocks_removed)
    output.line(f"blocks removed: {blocks or 'none'}")
