"""`edgeface evaluate` of a segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeface.cli.claim import claim_file, is_json
from edgeface.cli.output import Output
from edgeface.cli.progress import bar
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import write_json

if TYPE_CHECKING:
    from edgeface.cli.evaluate_run import Asked

__all__ = ["run_segmenter"]


def run_segmenter(asked: Asked, output: Output) -> None:
    """Intersection over union and pixel accuracy on the pictures of `--images`, covered by `--occlusion`.

    Raises:
        InputError: an option of recognition, or bad input.
    """
    from edgeface.models.segmenter import record_segmentation
    from edgeface.segmentation.evaluate import evaluate_segmenter

    given = {
        "--pairs": asked.pairs,
        "--folds": asked.folds,
        "--gallery": asked.gallery,
        "--split": asked.split,
        "--dictionary": asked.dictionary,
        "--segmenter": asked.segmenter,
        "--align": asked.align or None,
        "--against": asked.against,
        "--scores": asked.scores,
        "--cache": asked.cache,
        "--name": asked.name,
        "--protocol": None if asked.protocol == "verify" else asked.protocol,
    }
    wrong = [flag for flag, value in given.items() if value is not None]
    if wrong:
        raise InputError(f"{asked.model} is a segmenter, not a recogniser: leave out {', '.join(wrong)}")
    if asked.out is not None:
        claim_file(asked.out, "JSON file", is_json, force=True)
    if not asked.images.is_dir():
        raise InputError(f"--images {asked.images} is not a folder")
    with bar("segmenting", output.quiet) as progress:
        result = evaluate_segmenter(
            asked.model,
            asked.images,
            asked.occlusion,
            asked.share,
            asked.seed,
            progress,
            device=str(asked.opening["device"]),
        )
    output.data(result.to_dict())
    scores = result.scores.to_dict()
    rows = [
        (name.replace("_", " "), f"{100 * value:.2f} %" if isinstance(value, float) else str(value))
        for name, value in scores.items()
        if isinstance(value, float | int)
    ]
    output.table(result.protocol, ("measure", "value"), rows)
    for path, reason in list(result.failed.items())[:5]:
        output.note(f"not used: {path}: {reason}")
    if asked.record:
        record_segmentation(asked.model, result.record())
        output.wrote(asked.model)
    if asked.out is not None:
        write_json(asked.out, result.to_dict())
        output.wrote(asked.out)
