"""Verification pairs in LFW's format over folders of pictures, one folder a person.

A line names a genuine pair (`name i j`) or an impostor pair (`name1 i name2 j`); fields are separated by tabs, or by
blanks where the line has no tab (then names hold no blank). Picture i of a person is `name/name_%04d.jpg` (or .jpeg,
.png).

The header says how lines fall into folds. `10<tab>300`: ten folds, each of 300 genuine and 300 impostor pairs. One
number n: n genuine and n impostor pairs, one fold. No header: a new fold begins wherever a genuine line follows an
impostor line, if that gives folds of one size; else all is one fold. Folds are numbered from 1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import require_file

__all__ = ["MissingPicture", "Pair", "PairsReport", "people_of_pairs", "read_pairs"]

_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pair:
    """Two pictures, and whether they show one person."""

    a: Path
    b: Path
    genuine: bool
    fold: int
    """From 1."""

    @property
    def identities(self) -> tuple[str, str]:
        """The two people (folder names); one name twice for a genuine pair."""
        return self.a.parent.name, self.b.parent.name


@dataclass(frozen=True)
class MissingPicture:
    """A picture a line asks for that is not there."""

    line: int
    """From 1."""
    picture: str
    """Path relative to the images, as looked for first."""


@dataclass(frozen=True)
class PairsReport:
    """What became of a pairs file."""

    listed: int
    """Pairs in the file."""
    usable: int
    """Pairs whose two pictures are there."""
    folds: int
    missing: tuple[MissingPicture, ...]
    """Each picture that is not there, with each line that asks for it."""


@dataclass(frozen=True)
class _Row:
    line: int
    pictures: tuple[tuple[str, int], tuple[str, int]]
    genuine: bool


def read_pairs(path: Path, images_dir: Path) -> tuple[list[Pair], PairsReport]:
    """The pairs of a file whose pictures are there, in the file's order, and a report that names those left out.

    Raises:
        InputError: no such file or folder, a line that is no pair (with its number), a header that does not fit the
            number of lines, no pair at all, or none whose pictures are there.
    """
    if not images_dir.is_dir():
        raise InputError(f"no folder of pictures at {images_dir}")
    rows, folds = _rows(path)

    pairs: list[Pair] = []
    missing: list[MissingPicture] = []
    for row, fold in zip(rows, folds, strict=True):
        a, b = (_picture(images_dir, name, number) for name, number in row.pictures)
        if a is not None and b is not None:
            pairs.append(Pair(a, b, row.genuine, fold))
        for found, (name, number) in zip((a, b), row.pictures, strict=True):
            if found is None:
                missing.append(MissingPicture(row.line, f"{name}/{name}_{number:04d}.jpg"))
    if not pairs:
        raise InputError(
            f"none of the {len(rows)} pairs of {path} has its pictures in {images_dir}: "
            f"looked for {missing[0].picture} first"
        )
    return pairs, PairsReport(len(rows), len(pairs), max(folds), tuple(missing))


def people_of_pairs(path: Path, folds: Collection[int] | None = None) -> set[str]:
    """Everybody who is in a pair of these folds (None: of all), whether their pictures are there or not.

    Raises:
        InputError: see `read_pairs`; or a fold the file does not have.
    """
    rows, numbers = _rows(path)
    wanted = set(numbers) if folds is None else set(folds)
    if not wanted <= set(numbers):
        raise InputError(f"{path} has {max(numbers)} folds, asked for {max(wanted)}")
    return {name for row, fold in zip(rows, numbers, strict=True) if fold in wanted for name, _ in row.pictures}


def _rows(path: Path) -> tuple[list[_Row], list[int]]:
    """The lines of a pairs file and their folds, pictures not looked for."""
    require_file(path, "pairs file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} is not a readable text file: {exc}") from exc
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    header = _header(numbered[0][1]) if numbered else None
    rows = [_row(path, number, line) for number, line in numbered[1 if header else 0 :]]
    if not rows:
        raise InputError(f"{path} lists no pair")
    return rows, _folds(path, header, rows)


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.strip().split("\t")] if "\t" in line.strip() else line.split()


def _header(line: str) -> tuple[int, int] | None:
    """(folds, genuine pairs in each), or None where the first line is a pair already."""
    fields = _fields(line)
    if len(fields) > 2 or not all(field.isdecimal() and int(field) > 0 for field in fields):
        return None
    numbers = [int(field) for field in fields]
    return (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _row(path: Path, number: int, line: str) -> _Row:
    fields = _fields(line)
    if len(fields) == 3:
        fields = [fields[0], fields[1], fields[0], fields[2]]
        genuine = True
    elif len(fields) == 4:
        genuine = False
        if fields[0] == fields[2]:
            raise InputError(f"{path} line {number}: two different people expected, got {fields[0]!r} twice")
    else:
        raise InputError(f"{path} line {number}: expected 'name i j' or 'name1 i name2 j', got {line.strip()[:80]!r}")
    (one, i), (two, j) = _named(path, number, *fields[:2]), _named(path, number, *fields[2:])
    return _Row(number, ((one, i), (two, j)), genuine)


def _named(path: Path, number: int, name: str, index: str) -> tuple[str, int]:
    if not index.isdecimal():
        raise InputError(f"{path} line {number}: a picture's number expected, got {index!r}")
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise InputError(f"{path} line {number}: {name!r} is not a person's folder")
    return name, int(index)


def _folds(path: Path, header: tuple[int, int] | None, rows: list[_Row]) -> list[int]:
    """The fold of each row."""
    if header is not None:
        count, each = header
        if len(rows) != count * each * 2:
            raise InputError(
                f"{path} is cut off or not in LFW's format: its header promises {count * each * 2} pairs, "
                f"it holds {len(rows)}"
            )
        return [1 + index // (2 * each) for index in range(len(rows))]
    folds, fold = [], 1
    for before, row in zip([rows[0], *rows], rows, strict=False):
        fold += row.genuine and not before.genuine
        folds.append(fold)
    sizes = {folds.count(number) for number in range(1, fold + 1)}
    return folds if len(sizes) == 1 else [1] * len(rows)


def _picture(images_dir: Path, name: str, number: int) -> Path | None:
    for suffix in _SUFFIXES:
        candidate = images_dir / name / f"{name}_{number:04d}{suffix}"
        if candidate.is_file():
            return candidate
    return None
