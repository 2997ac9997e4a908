"""What `edgeface evaluate` does: checks its options together, then runs one protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeface.cli.claim import claim_file, is_json
from edgeface.cli.evaluate_show import show_comparison, show_covered, show_result
from edgeface.cli.output import Output
from edgeface.cli.parse import floats
from edgeface.cli.progress import bar
from edgeface.cli.signature import signature_gone
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import write_json

if TYPE_CHECKING:
    from edgeface.evaluation import IdentifyResult, Occlusion, VerifyResult
    from edgeface.evaluation.gallery_split import GallerySplit
    from edgeface.evaluation.matching import Matcher
    from edgeface.evaluation.scores import Scores

__all__ = ["Asked", "run"]

PROTOCOLS = ("verify", "identify", "covered")


@dataclass(frozen=True)
class Asked:
    """The options of the command, by their names there."""

    model: Path
    images: Path
    pairs: Path | None
    protocol: str
    folds: str | None
    gallery: Path | None
    split: str | None
    split_seed: int
    occlusion: str
    share: float | None
    seed: int
    dictionary: Path | None
    discarded: str | None
    segmenter: Path | None
    align: bool
    against: Path | None
    name: str | None
    record: bool
    out: Path | None
    scores: Path | None
    cache: Path | None
    opening: dict[str, Any]
    """backend, precision, device, threads, allow_cpu, builder, require_signature."""


def run(asked: Asked, output: Output) -> None:
    """Check, measure, show, keep.

    Raises:
        InputError: options that contradict each other, or bad input.
    """
    if asked.model.suffix == ".safetensors" and _is_segmenter(asked.model):
        from edgeface.cli.evaluate_segmenter import run_segmenter

        run_segmenter(asked, output)
        return
    _check(asked)
    if asked.protocol == "covered":
        _covered(asked, output)
        return
    from edgeface.evaluation import compare
    from edgeface.evaluation.open_matcher import open_matcher
    from edgeface.evaluation.record import check_recordable, record_result
    from edgeface.evaluation.scores import is_scores, read_scores, write_scores
    from edgeface_runtime.signature import is_signed

    if asked.record:
        check_recordable(asked.model)
    if asked.scores is not None:
        claim_file(asked.scores, "scores file", is_scores, True, "--scores")
    kept: Scores | None = read_scores(asked.against) if asked.against and asked.against.suffix == ".npz" else None
    with open_matcher(
        asked.model,
        dictionary=asked.dictionary,
        segmenter=asked.segmenter,
        discarded=asked.discarded,
        **asked.opening,
    ) as matcher:
        output.fell_back(matcher.describe())
        result, cached = _measure(asked, asked.model, matcher, output, "embedding")
    data = {**result.to_dict(), **cached}
    other = None
    if asked.against is not None and kept is None:
        with open_matcher(asked.against, **asked.opening) as matcher:
            other, cached = _measure(asked, asked.against, matcher, output, "embedding the other")
        kept = other.scores
        data["against"] = {**other.to_dict(), **cached}
    comparison = None if kept is None else compare(result.scores, kept)
    if comparison is not None:
        data["comparison"] = comparison.to_dict()
    output.data(data)  # before anything is written, which may fail
    show_result(output, result)
    if other is not None:
        show_result(output, other)
    if comparison is not None:
        show_comparison(
            output, comparison, _words(asked.model, result.masking), asked.against.name if asked.against else ""
        )
    if asked.record:
        signed = is_signed(asked.model)
        record_result(asked.model, result.record())
        output.wrote(asked.model)
        if signed:
            signature_gone(output, asked.model)
    if asked.scores is not None:
        write_scores(asked.scores, result.scores)
        output.wrote(asked.scores)
    if asked.out is not None:
        write_json(asked.out, data)
        output.wrote(asked.out)


def _words(model: Path, masking: str) -> str:
    return f"{model.name} by {masking}" if masking else model.name


def _check(asked: Asked) -> None:
    """What can be said before anything is opened."""
    if asked.protocol not in PROTOCOLS:
        raise InputError(f"unknown --protocol {asked.protocol!r}: choose {', '.join(PROTOCOLS[:-1])} or covered")
    if asked.protocol != "verify" and (asked.pairs is not None or asked.folds is not None):
        raise InputError("--pairs and --folds belong to --protocol verify: leave them out")
    if asked.protocol == "verify" and asked.pairs is None:
        raise InputError("--protocol verify needs --pairs FILE in LFW's format")
    if asked.protocol != "identify" and (asked.gallery is not None or asked.split is not None):
        raise InputError("--gallery and --split belong to --protocol identify: leave them out")
    if asked.gallery is not None and asked.split is not None:
        raise InputError("--gallery and --split both say what the gallery is: give one of them")
    if asked.protocol == "covered":
        _check_covered(asked)
    if asked.discarded is not None and asked.dictionary is None:
        raise InputError(
            "--discarded says what a checkpoint's --dictionary does to features: give both; a bundle has its own"
        )
    if asked.share is not None and asked.occlusion == "none":
        raise InputError("--share says how much --occlusion covers: give both")
    if asked.name is not None and not (asked.name.strip() and asked.name.isprintable()):
        raise InputError(f"--name must be a line of text, got {asked.name!r}")
    _check_opening(asked)
    if asked.out is not None:
        claim_file(asked.out, "JSON file", is_json, force=True)
    chosen = _folds(asked)
    if chosen is not None and len(chosen) < 2:
        raise InputError(f"--folds {asked.folds}: a fold's threshold comes from the others: two or more are needed")
    if not asked.images.is_dir():
        raise InputError(f"--images {asked.images} is not a folder")
    if asked.cache is not None:
        from edgeface.data.cache_folder import check_cache

        check_cache(asked.cache)


def _check_opening(asked: Asked) -> None:
    """What only a bundle takes."""
    from edgeface_runtime.backends import check_threads

    check_threads(asked.opening["threads"])
    if any(path is not None and path.suffix not in (".safetensors", ".npz") for path in (asked.model, asked.against)):
        return
    if asked.opening["backend"] != "onnxruntime" or asked.opening["precision"] not in ("auto", "fp32"):
        raise InputError(
            "--backend and --precision are for bundles, a checkpoint runs in PyTorch in FP32: leave them out"
        )


def _check_covered(asked: Asked) -> None:
    given = {
        "--occlusion": asked.occlusion != "none",
        "--dictionary": asked.dictionary is not None,
        "--against": asked.against is not None,
        "--scores": asked.scores is not None,
        "--cache": asked.cache is not None,
        "--record": asked.record,
    }
    wrong = [flag for flag, there in given.items() if there]
    if wrong:
        raise InputError(f"--protocol covered looks at pictures without labels: leave out {', '.join(wrong)}")


def _folds(asked: Asked) -> tuple[int, ...] | None:
    from edgeface.evaluation import parse_folds

    return None if asked.folds is None else parse_folds(asked.folds)


def _cover(asked: Asked) -> Occlusion | None:
    from edgeface.evaluation import Occlusion

    return None if asked.occlusion == "none" else Occlusion(asked.occlusion, asked.share, asked.seed)


def _measure(
    asked: Asked, model: Path, matcher: Matcher, output: Output, title: str
) -> tuple[VerifyResult | IdentifyResult, dict[str, int]]:
    """One system's result; with --cache also how many pictures' codes were taken from there."""
    if asked.cache is None:
        return _judge(asked, matcher, output, title), {}
    from edgeface.evaluation.encoded_cache import CachedMatcher, network_facts

    kept = CachedMatcher(matcher, asked.cache, network_facts(model))
    result = _judge(asked, kept, output, title)
    for note in kept.notes:
        output.note(note)
    output.note(f"{kept.taken} pictures taken from {asked.cache}, {kept.put} put there")
    return result, {"cached": kept.taken}


def _judge(asked: Asked, matcher: Matcher, output: Output, title: str) -> VerifyResult | IdentifyResult:
    from edgeface.evaluation import evaluate_identify, evaluate_pairs

    common: dict[str, Any] = {"occlusion": _cover(asked), "name": asked.name, "align": asked.align}
    with bar(title, output.quiet) as progress:
        if asked.pairs is not None:
            return evaluate_pairs(
                matcher, asked.images, asked.pairs, folds=_folds(asked), progress=progress, **common
            )
        return evaluate_identify(matcher, _split(asked), progress=progress, **common)


def _split(asked: Asked) -> GallerySplit:
    from edgeface.evaluation.gallery_split import first_pictures, split_by_file, split_by_fractions, two_folders

    if asked.gallery is not None:
        return two_folders(asked.gallery, asked.images)
    if asked.split is None:
        return first_pictures(asked.images)
    if asked.split.endswith(".json"):
        return split_by_file(asked.images, Path(asked.split))
    return split_by_fractions(asked.images, floats(asked.split, "--split"), asked.split_seed)


def _covered(asked: Asked, output: Output) -> None:
    from edgeface.evaluation import open_embedder
    from edgeface.evaluation.covered import evaluate_covered
    from edgeface.evaluation.open_matcher import open_segmenter

    with open_embedder(asked.model, **asked.opening) as embedder, bar("looking", output.quiet) as progress:
        output.fell_back(embedder.describe)
        measures: dict[str, Any] = {} if embedder.shares is None else {"mask": embedder.shares}
        if asked.segmenter is not None:
            segment, size = open_segmenter(asked.segmenter)
            if size != (112, 96):
                raise InputError(f"{asked.segmenter} is for faces of {size}, aligned ones are of 112x96")
            measures["segmenter"] = lambda faces: segment(faces).mean((1, 2))
        result = evaluate_covered(
            asked.images, measures, name=asked.name, ran_on=embedder.describe, progress=progress
        )
    output.data(result.to_dict())
    show_covered(output, result)
    if asked.out is not None:
        write_json(asked.out, result.to_dict())
        output.wrote(asked.out)


def _is_segmenter(path: Path) -> bool:
    from edgeface.models.segmenter import is_segmenter

    return path.is_file() and is_segmenter(path)
