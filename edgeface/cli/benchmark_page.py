"""The part of `edgeface benchmark` that `--report` adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface.cli.engine import builder
from edgeface.cli.output import Output
from edgeface.cli.parse import words
from edgeface.cli.progress import phases
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface.workflows.benchmark import BenchmarkReport, Subject
    from edgeface.workflows.report import PairTest, Report

__all__ = ["PageAsked", "check_page", "gather"]

CONDITIONS = ("none", "random", "mask")


@dataclass(frozen=True)
class PageAsked:
    """The options, by their names."""

    report: Path | None
    images: Path | None
    pairs: Path | None
    folds: str | None
    occlusion: str | None
    """None: not given."""
    faces: Path | None
    no_build: bool


def check_page(asked: PageAsked, bundles: bool) -> PairTest | None:
    """What to judge the bundles on, checked before the work; None where nothing is.

    Raises:
        InputError: options that lack one another, or bad input.
    """
    given = {
        "--images": asked.images,
        "--pairs": asked.pairs,
        "--folds": asked.folds,
        "--occlusion": asked.occlusion,
        "--faces": asked.faces,
    }
    flags = [flag for flag, value in given.items() if value is not None]
    if not flags:
        return None
    if asked.report is None:
        raise InputError(f"{flags[0]} is for the page of --report DIR: give both")
    if not bundles:
        raise InputError(f"{flags[0]} is for bundles: random weights have no accuracy, leave it out")
    if asked.faces is not None and not asked.faces.is_dir():
        raise InputError(f"--faces {asked.faces} is not a folder")
    if asked.images is None and asked.pairs is None:
        alone = [flag for flag in flags if flag != "--faces"]
        if alone:
            raise InputError(f"{alone[0]} says how to judge on --images DIR --pairs FILE: give these too")
        return None
    if asked.images is None or asked.pairs is None:
        raise InputError("--images DIR and --pairs FILE belong together: give both")
    from edgeface.evaluation import parse_folds
    from edgeface.workflows.report import PairTest

    conditions = CONDITIONS if asked.occlusion is None else words(asked.occlusion)
    folds = None if asked.folds is None else parse_folds(asked.folds)
    return PairTest(asked.images, asked.pairs, conditions, folds)


def gather(
    measured: BenchmarkReport,
    subjects: Sequence[Subject],
    test: PairTest | None,
    asked: PageAsked,
    skipped: Sequence[str],
    output: Output,
) -> Report:
    """Judge, find the fronts, look at faces, with progress on stderr."""
    from edgeface.workflows.report import make_report

    with phases(output.quiet) as progress:
        return make_report(
            measured,
            subjects,
            test,
            asked.faces,
            notes=skipped,
            builder=builder(output, asked.no_build),
            progress=progress,
        )
