"""edgeface calibrate threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import floats

__all__ = ["app"]

app = typer.Typer(help="What a bundle learns from your own faces.", no_args_is_help=True)


@app.callback()
def calibrate() -> None:
    """What a bundle learns from your own faces."""


@app.command()
def threshold(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    data: Annotated[Path, typer.Option(help="Identity folders of aligned crops of the bundle's size.")],
    fmr: Annotated[str, typer.Option(help="False match rates.")] = "1e-2,1e-3",
    faces: Annotated[int, typer.Option(help="Use at most this many faces.")] = 2000,
    occlusion: Annotated[
        str, typer.Option(help="Covers one picture of every pair: none, random, mask, ...")
    ] = "none",
    seed: Annotated[int, typer.Option(help="Which faces, and the occluders.")] = 0,
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8, or auto: fp16 for TensorRT, else fp32.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves it to the backend.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the cosine threshold for a false match rate and write it into the bundle."""
    from edgeface.cli.progress import bar
    from edgeface.evaluation import Occlusion, open_embedder
    from edgeface.evaluation.threshold import calibrate_threshold, check_storable, store_thresholds

    output = Output(json, quiet)
    rates = floats(fmr, "--fmr")
    check_storable(bundle)
    cover = None if occlusion == "none" else Occlusion(occlusion, seed=seed)
    with open_embedder(bundle, precision=precision, threads=threads) as embedder, bar("embedding", quiet) as progress:
        result = calibrate_threshold(
            embedder, data, rates, limit=faces, seed=seed, occlusion=cover, progress=progress
        )
    for rate, before in store_thresholds(bundle, result).items():
        output.note(f"false match rate {rate}: replaces the threshold {before:.4f}")
    output.wrote(bundle)
    output.data(result.to_dict())
    accepted = {
        rate: "" if share is None else f"{100 * share:.2f} %" for rate, share in result.genuine_accepted.items()
    }
    output.table(
        f"{result.faces} faces of {result.people} people, {result.impostor_pairs} impostor pairs",
        ("false match rate", "threshold", "genuine accepted"),
        [(rate, f"{value:.4f}", accepted[rate]) for rate, value in result.thresholds.items()],
    )
