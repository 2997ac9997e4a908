"""edgeface evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.engine import NoBuild, Signed, builder
from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[
        Path, typer.Argument(metavar="CKPT|BUNDLE", help="Checkpoint or segmenter (.safetensors), or bundle.")
    ],
    images: Annotated[Path, typer.Option(help="Identity folders of crops; of photographs with --align.")],
    pairs: Annotated[Path | None, typer.Option(help="Pairs in LFW's format; needed by --protocol verify.")] = None,
    protocol: Annotated[
        str, typer.Option(help="verify (pairs, folds), identify (rank-1, rank-5) or covered (no labels).")
    ] = "verify",
    folds: Annotated[str | None, typer.Option(help="Folds to use, such as 6-10; default: all.")] = None,
    gallery: Annotated[Path | None, typer.Option(help="identify: gallery folder; --images are the probes.")] = None,
    split: Annotated[
        str | None, typer.Option(help="identify: shares such as .7,.15,.15, or a JSON file of gallery and probes.")
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Seed of the shares of --split.")] = 0,
    occlusion: Annotated[str, typer.Option(help="What covers the second picture: none, random, mask, ...")] = "none",
    share: Annotated[float | None, typer.Option(help="Covered share of the area; default .4 for objects.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the occluders.")] = 0,
    dictionary: Annotated[Path | None, typer.Option(help="Mask dictionary (.npz) of this checkpoint.")] = None,
    discarded: Annotated[
        str | None,
        typer.Option(help="What a discarded feature becomes: mean or zero; default: as the dictionary says."),
    ] = None,
    segmenter: Annotated[
        Path | None, typer.Option(help="What sees the cover: a segmenter's file, or exact (the occluder's own mask).")
    ] = None,
    align: Annotated[bool, typer.Option("--align", help="Find and align faces in photographs.")] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="CKPT|BUNDLE|SCORES", help="Another system, or its --scores: compare.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the set in reports.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Write the result into the checkpoint or bundle.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the result to this JSON file.")] = None,
    scores: Annotated[Path | None, typer.Option(help="Keep every score here (.npz), to compare later.")] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep what uncovered pictures are embedded to, and take it.")
    ] = None,
    backend: Annotated[str, typer.Option(help="For a bundle: onnxruntime, tensorrt, tensorrt-rtx.")] = "onnxruntime",
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, int8, int8+fp16, or auto: fp16 for TensorRT, else fp32.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves it to the backend.")] = 0,
    no_build: NoBuild = False,
    require_signature: Signed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy on pairs (LFW's ten folds) or by identification, clean or occluded; compare two systems."""
    from edgeface.cli.evaluate_run import Asked, run

    output = Output(json, quiet)
    run(
        Asked(
            model=model,
            images=images,
            pairs=pairs,
            protocol=protocol,
            folds=folds,
            gallery=gallery,
            split=split,
            split_seed=split_seed,
            occlusion=occlusion,
            share=share,
            seed=seed,
            dictionary=dictionary,
            discarded=discarded,
            segmenter=segmenter,
            align=align,
            against=against,
            name=name,
            record=record,
            out=out,
            scores=scores,
            cache=cache,
            opening={
                "backend": backend,
                "precision": precision,
                "device": device,
                "threads": threads,
                "builder": builder(output, no_build),
                "require_signature": require_signature,
            },
        ),
        output,
    )
