"""edgeface profile: what a network's parts cost on this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.device import Backend
from edgeface.cli.output import Json, Output, Quiet

if TYPE_CHECKING:
    from edgeface.models.spec import ArchSpec
    from edgeface_calibration.device_profile import DeviceProfile

__all__ = ["register"]

NETWORK = ("arch", "mask", "width")
"""Flags that name a network."""
ROUGH = 0.1
"""Mean error of a profile above which a hint is given."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(profile)


def profile(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CKPT|BLOCKS]",
            help="Checkpoint whose network is profiled, or a folder of --export; default: by --arch.",
            show_default=False,
        ),
    ] = None,
    arch: Annotated[str, typer.Option(help="Without a checkpoint: the network.")] = "iresnet50",
    mask: Annotated[str, typer.Option(help="Of that network: none, decoder, spatial or vector.")] = "decoder",
    width: Annotated[float, typer.Option(help="Of that network: scale of every width.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Device profile to write (.json).")] = None,
    export: Annotated[
        Path | None, typer.Option(help="Time nothing; write the graphs into this folder, for a device to time.")
    ] = None,
    backend: Backend = "onnxruntime",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves it to the backend.")] = 1,
    batch: Annotated[int, typer.Option(help="Faces in one call.")] = 1,
    precision: Annotated[str, typer.Option(help="fp32, fp16, or auto: fp16 for TensorRT, else fp32.")] = "auto",
    rounds: Annotated[int, typer.Option(help="How often every graph is timed.")] = 30,
    clock: Annotated[
        str, typer.Option(help="wall; or cpu, the time one thread computed, where others use the machine too.")
    ] = "wall",
    force: Annotated[bool, typer.Option("--force", help="Replace a profile that is there.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure latency against width of a network's parts on this device, for `prune --target-latency`."""
    import tempfile

    from edgeface.cli.claim import check_parent, claim_file
    from edgeface.cli.progress import phases
    from edgeface.workflows.profile.blocks import is_blocks, read_blocks
    from edgeface.workflows.profile.measure import ProfileSettings, measure_blocks
    from edgeface_calibration.device_profile import is_profile, write_profile
    from edgeface_runtime.backends import backend_kind
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    given = {
        flag
        for flag in (*NETWORK, "precision")
        if (how := context.get_parameter_source(flag)) is not None and how.name == "COMMANDLINE"
    }
    if (out is None) == (export is None):
        raise InputError("give --out for a profile of this device, or --export for graphs that another one times")
    settings = ProfileSettings(backend, device, threads, batch, rounds, clock)
    wanted = backend_kind(backend).precision if precision == "auto" else precision
    if source is not None and source.is_dir():
        if export is not None or given:
            flag = "export" if export is not None else sorted(given)[0]
            raise InputError(f"--{flag} is for networks, and {source} is a folder of graphs: leave it out")
        blocks = read_blocks(source)
    elif source is not None and given & set(NETWORK):
        raise InputError(f"--{sorted(given & set(NETWORK))[0]} is for a network without a checkpoint: leave it out")
    if export is not None:
        from edgeface.workflows.profile.plan import export_blocks

        check_parent(export)
        blocks = export_blocks(_network(source, arch, width, mask), wanted, export)
        output.wrote(export)
        graphs = len(list(export.glob("*.onnx")))
        output.data({"blocks": str(export), "network": blocks.network, "precision": wanted, "graphs": graphs})
        output.line(f"{graphs} graphs of {blocks.network} ({wanted}); on the device: edgeface profile {export.name} "
                    "--out profile.json")  # fmt: skip
        return
    assert out is not None
    claim_file(out, "device profile", is_profile, force)
    with tempfile.TemporaryDirectory(prefix="edgeface-") as work, phases(quiet) as progress:
        folder = source if source is not None and is_blocks(source) else Path(work)
        if folder != source:
            from edgeface.workflows.profile.plan import write_blocks

            blocks = write_blocks(_network(source, arch, width, mask), wanted, folder)
        found = measure_blocks(folder, blocks, settings, progress)
    write_profile(out, found)
    output.wrote(out)
    output.data({"profile": str(out), **found.to_dict()})
    _show(output, found)


def _network(checkpoint: Path | None, arch: str, width: float, mask: str) -> ArchSpec:
    from edgeface.models import build_spec
    from edgeface.models.checkpoint import read_meta

    return build_spec(arch, width, mask=mask) if checkpoint is None else read_meta(checkpoint)[0]


def _show(output: Output, found: DeviceProfile) -> None:
    """What the parts cost, narrowest and widest, and how well they add up."""
    on = found.conditions
    output.table(
        f"{found.network}: {on.backend} on {on.device}, {on.precision}, batch {on.batch}",
        ("unit", "widths", "ms", "widths", "ms", "graphs", "iqr"),
        [
            (
                key,
                " ".join(str(axis[0]) for axis in unit.axes),
                f"{unit.ms[0]:.3f}",
                " ".join(str(axis[-1]) for axis in unit.axes),
                f"{unit.ms[-1]:.3f}",
                len(unit.ms),
                f"{unit.iqr_ms[-1]:.3f}",
            )
            for key, unit in found.units.items()
        ],
    )
    output.table(
        f"whole networks: {found.factor:.3f} x the sum of their units + {found.offset_ms:.3f} ms",
        ("network", "predicted", "measured", "iqr", "error", ""),
        [
            (
                check.label,
                f"{check.predicted_ms:.3f}",
                f"{check.measured_ms:.3f}",
                f"{check.iqr_ms:.3f}",
                f"{check.error:+.1%}",
                "fitted" if check.fitted else "",
            )
            for check in found.checks
        ],
    )
    if found.error is not None:
        output.line(f"mean error on the networks that nothing was fitted on: {found.error:.1%}")
        if found.error > ROUGH and found.clock == "wall":
            output.note("that is rough: let nothing else run, raise --rounds, or on one CPU thread use --clock cpu")
