"""Splitting every person's pictures into training, validation and test, as Johnston & Ngxande 2022 do (70/15/15).

The parts are folders of links to the pictures, so nothing is copied; a `landmarks.json` in the root is divided with
them. Which picture goes where follows from (seed, person, picture) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.data.folders import FaceFolder, Skipped, scan
from edgeface.data.landmarks import read_table
from edgeface_calibration.landmarks import LANDMARKS_NAME
from edgeface_calibration.occluders import sample_seed
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import part_folder, write_json

__all__ = ["PARTS", "SplitReport", "counts_of", "divide", "split_folder"]

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitReport:
    """What was written."""

    people: dict[str, int]
    """Part -> people with a picture in it."""
    pictures: dict[str, int]
    """Part -> pictures."""
    skipped: tuple[Skipped, ...]
    """Pictures that are none, left out of every part."""
    without_landmarks: int
    """Pictures that the landmarks file does not name; 0 where there is no such file."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {**asdict(self), "skipped": [f"{entry.path}: {entry.reason}" for entry in self.skipped]}


def counts_of(pictures: int, fractions: Sequence[float]) -> tuple[int, int, int]:
    """How many of a person's pictures are for training, validation, test: the latter two rounded, training the rest.

    Training has at least one: with few pictures first validation, then test gives one up.
    """
    val, test = (int(pictures * fraction + 0.5) for fraction in fractions[1:])
    while val + test >= pictures:
        if val:
            val -= 1
        else:
            test -= 1
    return pictures - val - test, val, test


def check_fractions(fractions: Sequence[float]) -> None:
    """Raises InputError: not three shares of 1."""
    whole = len(fractions) == 3 and abs(sum(fractions) - 1) <= 1e-6  # not so of NaN
    if not whole or min(fractions) < 0 or fractions[0] <= 0:
        raise InputError(f"a split needs three shares that add up to 1, such as .7,.15,.15, got {fractions}")


def divide(folder: FaceFolder, fractions: Sequence[float], seed: int) -> dict[str, list[Path]]:
    """Part (train, val, test) -> its pictures, nothing written.

    Raises:
        InputError: fractions that are not three shares of 1.
    """
    check_fractions(fractions)
    chosen: dict[str, list[Path]] = {part: [] for part in PARTS}
    own: list[list[Path]] = [[] for _ in folder.identities]
    for path, label in folder.samples:
        own[label].append(path)
    for name, pictures in zip(folder.identities, own, strict=True):
        order = np.random.default_rng(sample_seed(seed, name)).permutation(len(pictures))
        train, val, _ = counts_of(len(pictures), fractions)
        for rank, index in enumerate(order):
            part = "train" if rank < train else "val" if rank < train + val else "test"
            chosen[part].append(pictures[index])
    return chosen


def split_folder(src: Path, out: Path, fractions: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0) -> SplitReport:
    """Write `out`/train, `out`/val and `out`/test as identity folders of links to the pictures of `src`.

    Raises:
        InputError: `out` is there already, fractions that are not three shares of 1, or `src` is no identity folder.
    """
    check_fractions(fractions)
    inside, around = out.resolve(), src.resolve()
    if inside == around or around in inside.parents or inside in around.parents:
        raise InputError(f"{src} and {out} lie in one another: choose a folder outside")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists: choose another folder")
    folder = scan(src)
    table = src / LANDMARKS_NAME
    points = read_table(table)[0] if table.is_file() else None
    chosen = divide(folder, fractions, seed)
    unnamed = 0
    with part_folder(out) as work:
        made = work / "split"
        for part, paths in chosen.items():
            (made / part).mkdir(parents=True)
            kept = {}
            for path in sorted(paths):
                relative = path.relative_to(src).as_posix()
                target = made / part / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path.resolve())
                if points is not None:
                    if relative in points:
                        kept[relative] = points[relative]
                    else:
                        unnamed += 1
            if points is not None:
                write_json(made / part / LANDMARKS_NAME, kept)
        if out.is_dir():
            out.rmdir()
        made.rename(out)
    people = {part: len({path.relative_to(src).parts[0] for path in paths}) for part, paths in chosen.items()}
    return SplitReport(people, {part: len(paths) for part, paths in chosen.items()}, folder.skipped, unnamed)
