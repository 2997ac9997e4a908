"""edgeface build: a bundle's ONNX graph compiled for a GPU."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeface.cli.output import Json, Output, Quiet

if TYPE_CHECKING:
    from edgeface_export.build import BuiltEngine

__all__ = ["now_and_then", "register"]

EVERY_S = 30.0

SHOWN = 3
"""Names of layers that are printed; --json has all."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(build)


def build(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder or .tar.")],
    backend: Annotated[str, typer.Option(help="tensorrt or tensorrt-rtx.")] = "tensorrt",
    precision: Annotated[
        str, typer.Option(help="Which of the bundle's models: fp32, fp16, int8 or int8+fp16.")
    ] = "fp16",
    min_batch: Annotated[int, typer.Option(help="Smallest batch the engine takes.")] = 1,
    opt_batch: Annotated[
        int | None, typer.Option(help="Batch the engine is tuned for; default: --min-batch.")
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Largest batch the engine takes.")] = 8,
    workspace: Annotated[
        int | None, typer.Option(metavar="MIB", help="Scratch memory it may use, MiB; default: half of what is free.")
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keeps what was measured, so that the next build is quicker; tensorrt only."
        ),
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="Run under later TensorRT of the same major too; tensorrt only."),
    ] = False,
    hardware_compatibility: Annotated[
        str,
        typer.Option(help="Other GPUs: none, ampere-plus or same-compute-capability; tensorrt only."),
    ] = "none",
    builder_level: Annotated[
        int | None, typer.Option(help="0 (quick build) to 5 (quick engine); default: TensorRT's own, 3.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Engine to write; default: where loading looks, beside the bundle.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an engine that is there at --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and parse all, say what would be built, write nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile a bundle's ONNX graph into a TensorRT engine for the GPU of this machine."""
    from edgeface.cli.claim import check_parent, claim_file
    from edgeface.cli.progress import phases
    from edgeface_export.build import BuildSettings, prepare_build, run_build
    from edgeface_export.trt_module import here_to_build
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.engine import is_engine
    from edgeface_runtime.engine_place import engine_lock, engine_path
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    try:
        settings = BuildSettings(
            precision=precision,
            min_batch=min_batch,
            opt_batch=min_batch if opt_batch is None else opt_batch,
            max_batch=max_batch,
            workspace_mib=workspace,
            timing_cache=timing_cache,
            version_compatible=version_compatible,
            hardware_compatibility=hardware_compatibility,
            builder_level=builder_level,
        )
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    source = open_bundle(bundle)
    model = source.model_path(precision)
    path = out or engine_path(source.source, source.model_sha256(precision), here_to_build(backend))
    if out is not None:
        if out.suffix != ".engine":
            raise InputError(f"--out {out}: an engine's name ends in .engine")
        claim_file(out, "engine", is_engine, force)
    else:
        check_parent(path)
    if timing_cache is not None:
        if timing_cache.absolute() == path.absolute():
            raise InputError(f"--timing-cache {timing_cache} is where the engine goes: name another file")
        check_parent(timing_cache)
    unused = None
    if source.manifest.dictionary is not None:
        unused = (
            f"the engine is the network without its mask dictionary ({source.manifest.masking}): "
            "enroll, identify and evaluate run this bundle on onnxruntime only"
        )
    prepared = prepare_build(model, backend, settings)
    if unused is not None:
        output.line(f"warning: {unused}")  # before the minutes that building may take
    if dry_run:
        planned = prepared.plan
        there = _what_is_there(path)
        data = planned.to_dict()
        for unknown in ("format", "version", "engine_sha256", "build_s"):
            del data[unknown]
        output.data({"engine": str(path), "dry_run": True, "there": there, **data, "dictionary_unused": unused})
        _show(output, planned, "would be", [("engine", f"{path} (not written: --dry-run)"), ("there now", there)])
        return
    output.note(f"building {precision} with {backend}, {_scratch(prepared.plan)} of scratch memory: may take minutes")
    waiting = f"another process is building {path}: waiting for it"
    lock = nullcontext() if out else engine_lock(path, lambda: output.note(waiting))
    with lock, phases(quiet) as progress:
        built = run_build(prepared, path, progress if sys.stderr.isatty() else now_and_then(output.note))
    output.wrote(path)
    output.data({"engine": str(path), **built.to_dict(), "dictionary_unused": unused})
    _show(output, built, f"in {built.build_s:.1f} s", [("engine", str(path))])


def now_and_then(
    note: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[str, int, int], None]:
    """Progress for a log, which shows no bars: a line every half minute, through `note`."""
    start = last = clock()

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal last
        now = clock()
        if now - last >= EVERY_S:
            last = now
            note(f"still building after {now - start:.0f} s: {phase}, {done} of {total}")

    return tell


def _what_is_there(path: Path) -> str:
    """In words, what a build would replace."""
    from edgeface_runtime.engine import read_sidecar
    from edgeface_runtime.errors import ArtefactError

    if not path.exists():
        return "nothing"
    try:
        found = read_sidecar(path)
    except ArtefactError:
        return "a file that is no engine of edgeface"
    profile = found.profile
    return (
        f"an engine of {found.flavour} {found.tensorrt_version}, {found.precision}, "
        f"batch {profile.min_batch} to {profile.max_batch}, for {found.gpu or 'any GPU'}"
    )


def _show(output: Output, engine: BuiltEngine, when: str, first: list[tuple[str, str]]) -> None:
    profile = engine.profile
    rows: list[tuple[str, Any]] = [
        *first,
        ("built", f"{when}, by {engine.flavour} {engine.tensorrt_version}"),
        ("precision", engine.precision),
        ("layers", ", ".join(f"{number} {kind}" for kind, number in sorted(engine.layers.items()))),
        ("", engine.layers_note),
        ("in FP32", _some(engine.fp32_layers) if engine.precision != "fp32" else None),
        ("batch", f"{profile.min_batch} to {profile.max_batch}, tuned for {profile.opt_batch}"),
        ("workspace", _scratch(engine)),
        ("builder level", engine.builder_level),
        ("timing cache", engine.timing_cache),
        ("gpu", f"{engine.gpu or 'none'}" + (f" ({engine.note})" if engine.note else "")),
        ("runs on", _runs_on(engine)),
    ]
    for key, value in rows:
        if value is not None:
            output.line(f"{key:<14} {value}")


def _scratch(engine: BuiltEngine) -> str:
    return "TensorRT's own limit" if engine.workspace_mib is None else f"at most {engine.workspace_mib} MiB"


def _some(names: tuple[str, ...]) -> str:
    """Of the layers that compute in FP32, how many and which."""
    if not names:
        return "no convolution"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} of the convolutions: {', '.join(names[:SHOWN])}{more}"


def _runs_on(engine: BuiltEngine) -> str:
    gpus = {
        "none": "this GPU model" if engine.gpu else "any GPU of tensorrt-rtx",
        "ampere-plus": "any GPU of compute capability 8.0 or more",
        "same-compute-capability": f"any GPU of compute capability {engine.compute_capability}",
    }[engine.hardware_compatibility]
    later = " or later of the same major" if engine.version_compatible else ""
    return f"{gpus}, with {engine.flavour} {engine.tensorrt_version}{later}"
