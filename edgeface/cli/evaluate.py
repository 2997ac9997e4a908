"""edgeface evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

if TYPE_CHECKING:
    from edgeface.evaluation import IdentifyResult, VerifyResult

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="CKPT|BUNDLE", help="Checkpoint (.safetensors) or bundle.")],
    images: Annotated[Path, typer.Option(help="Identity folders of aligned 112x96 crops.")],
    pairs: Annotated[Path | None, typer.Option(help="Pairs in LFW's format; needed by --protocol verify.")] = None,
    protocol: Annotated[str, typer.Option(help="verify (pairs, folds) or identify (rank-1, rank-5).")] = "verify",
    folds: Annotated[str | None, typer.Option(help="Folds to use, such as 6-10; default: all.")] = None,
    occlusion: Annotated[str, typer.Option(help="What covers the second picture: none, random, mask, ...")] = "none",
    share: Annotated[float | None, typer.Option(help="Covered share of the area; default .4 for objects.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the occluders.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the set in reports.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the result into the checkpoint or bundle.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the result to this JSON file.")] = None,
    backend: Annotated[str, typer.Option(help="For a bundle: onnxruntime, tensorrt, tensorrt-rtx.")] = "onnxruntime",
    precision: Annotated[str, typer.Option(help="fp32, fp16, or auto: fp16 for TensorRT, else fp32.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads for a bundle; 0 leaves it to the backend.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy on pairs (LFW's ten folds) or by identification, clean or occluded."""
    from edgeface.cli.claim import claim_file, is_json
    from edgeface.cli.progress import bar
    from edgeface.evaluation import Occlusion, evaluate_identify, evaluate_pairs, open_embedder, parse_folds
    from edgeface.evaluation.record import check_recordable, record_result
    from edgeface_runtime.errors import InputError
    from edgeface_runtime.files import write_json

    output = Output(json, quiet)
    if protocol not in ("verify", "identify"):
        raise InputError(f"unknown --protocol {protocol!r}: choose verify or identify")
    if protocol == "identify" and (pairs is not None or folds is not None):
        raise InputError("--pairs and --folds belong to --protocol verify: leave them out")
    if protocol == "verify" and pairs is None:
        raise InputError("--protocol verify needs --pairs FILE in LFW's format")
    if share is not None and occlusion == "none":
        raise InputError("--share says how much --occlusion covers: give both")
    if name is not None and not (name.strip() and name.isprintable()):
        raise InputError(f"--name must be a line of text, got {name!r}")
    if record:
        check_recordable(model)
    if out is not None:
        claim_file(out, "JSON file", is_json, force=True)
    chosen = None if folds is None else parse_folds(folds)
    if chosen is not None and len(chosen) < 2:
        raise InputError(f"--folds {folds}: a fold's threshold comes from the others, so two or more are needed")
    if not images.is_dir():
        raise InputError(f"--images {images} is not a folder")
    cover = None if occlusion == "none" else Occlusion(occlusion, share, seed)
    embedder = open_embedder(model, backend=backend, precision=precision, device=device, threads=threads)
    with embedder, bar("embedding", quiet) as progress:
        result: VerifyResult | IdentifyResult
        if pairs is None:
            result = evaluate_identify(embedder, images, occlusion=cover, name=name, progress=progress)
        else:
            result = evaluate_pairs(
                embedder, images, pairs, occlusion=cover, folds=chosen, name=name, progress=progress
            )
    output.data(result.to_dict())  # before anything is written, which may fail
    _show(output, result)
    if record:
        record_result(model, result.record())
        output.wrote(model)
    if out is not None:
        write_json(out, result.to_dict())
        output.wrote(out)


def _show(output: Output, result: VerifyResult | IdentifyResult) -> None:
    from edgeface.evaluation import VerifyResult

    if not isinstance(result, VerifyResult):
        rows = [("rank-1", f"{100 * result.rank1:.2f} %"), ("rank-5", f"{100 * result.rank5:.2f} %")]
        rows += [("people", str(result.people)), ("probes", str(result.probes))]
        output.table(result.protocol, ("measure", "value"), rows)
        return
    low, high = 100 * result.interval.low, 100 * result.interval.high
    rows = [
        ("accuracy", f"{100 * result.accuracy:.2f} ± {100 * result.std:.2f} %"),
        ("95 % over identities", f"{low:.2f} to {high:.2f} %"),
        ("AUC", f"{result.auc:.4f}"),
        ("EER", f"{100 * result.eer:.2f} %"),
    ]
    for entry in result.tar:
        value = "not supported by these pairs" if entry.tar is None else f"{100 * entry.tar:.2f} %"
        rows.append((f"TAR at FMR {entry.fmr:g}", value))
    rows += [("threshold", f"{result.threshold:.4f}"), ("pairs", str(result.pairs)), ("missing", str(result.missing))]
    output.table(result.protocol, ("measure", "value"), rows)
    if result.missing:
        output.note(f"{result.missing} pairs left out, first missing: {', '.join(result.missing_first)}")
