"""The two honest protocols on LFW: whom a network may be trained on so that no test pair shows them.

full: all ten folds test; LFW's people who are in no pair train. half: folds 6-10 test; LFW's people who are in none
of these train. To both come the people of the CelebA part, who were chosen to be none of LFW's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeface.data.folders import scan
from edgeface_calibration.pairs import people_of_pairs
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import part_folder, require_file, write_json
from edgeface_runtime.image import IMAGE_SUFFIXES

__all__ = ["PROTOCOLS", "TrainingSet", "make_training_set", "test_folds", "training_people"]

OTHERS = "celeba-subset"
OTHERS_PREFIX = "celeba_"


@dataclass(frozen=True)
class TrainingSet:
    """What `make_training_set` wrote."""

    protocol: str
    people: int
    pictures: int
    """Usable ones, as a training counts them."""
    skipped: int
    """Pictures that are damaged by their first bytes: linked, but no training uses them."""
    left_out: int
    """People who may be trained on but have fewer than `minimum` pictures."""
    minimum: int
    digest: str
    """Of names and sizes of all pictures: two sets of one digest are the same."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _not_tested_at_all(lfw: Path) -> set[str]:
    """Those of `people_not_in_pairs.txt`."""
    path = require_file(lfw / "people_not_in_pairs.txt", "list of people")
    return {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}


def _not_in_second_half(lfw: Path) -> set[str]:
    """All people of LFW but those in a pair of folds 6 to 10."""
    tested = people_of_pairs(lfw / "pairs.txt", PROTOCOLS["half"][0])
    return {entry.name for entry in (lfw / "aligned").iterdir() if entry.is_dir()} - tested


PROTOCOLS: dict[str, tuple[tuple[int, ...], Callable[[Path], set[str]]]] = {
    "full": (tuple(range(1, 11)), _not_tested_at_all),
    "half": (tuple(range(6, 11)), _not_in_second_half),
}
"""Name -> folds that test, and who of LFW may be trained on, given LFW's folder."""


def test_folds(protocol: str) -> tuple[int, ...]:
    """The folds of `lfw/pairs.txt` a protocol tests on.

    Raises:
        InputError: unknown protocol.
    """
    return _known(protocol)[0]


test_folds.__test__ = False  # type: ignore[attr-defined]  # its name looks like a test's


def training_people(data_dir: Path, protocol: str) -> tuple[str, ...]:
    """LFW's people who may be trained on, sorted; whatever number of pictures they have.

    Args:
        data_dir: holds `lfw/pairs.txt`, `lfw/people_not_in_pairs.txt` and `lfw/aligned`.

    Raises:
        InputError: unknown protocol, a file that is not there, or people to train on who are in a test pair.
    """
    folds, choose = _known(protocol)
    lfw = data_dir / "lfw"
    require_file(lfw / "pairs.txt", "pairs file")
    if not (lfw / "aligned").is_dir():
        raise InputError(f"no aligned faces at {lfw / 'aligned'}")
    people = choose(lfw)
    both = sorted(people & people_of_pairs(lfw / "pairs.txt", folds))
    if both:
        raise InputError(f"{len(both)} people are in test pairs and in the training list, first {both[0]}")
    return tuple(sorted(people))


def make_training_set(data_dir: Path, protocol: str, out: Path, minimum: int = 2) -> TrainingSet:
    """Write the training set of a protocol as a folder of links to people's folders.

    LFW's people keep their names, if they have `minimum` pictures or more; the others are `celeba_<number>`, whatever
    number of pictures they have. `out/protocol.json` says what it is.

    Raises:
        InputError: see `training_people`; `minimum` below 1; or `out` is there already.
    """
    if minimum < 1:
        raise InputError(f"--minimum must be at least 1, got {minimum}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists: choose another folder")
    people = training_people(data_dir, protocol)
    aligned, others = data_dir / "lfw" / "aligned", data_dir / OTHERS
    links = {name: aligned / name for name in people if _pictures(aligned / name) >= minimum}
    if others.is_dir():
        links |= {OTHERS_PREFIX + entry.name: entry for entry in others.iterdir() if entry.is_dir()}
    with part_folder(out) as work:
        made = work / "set"
        made.mkdir()
        for name, folder in links.items():
            (made / name).symlink_to(folder.resolve())
        found = scan(made)
        result = TrainingSet(
            protocol,
            len(found.identities),
            len(found.samples),
            len(found.skipped),
            sum(name not in links for name in people),
            minimum,
            found.digest,
        )
        write_json(made / "protocol.json", result.to_dict())
        if out.is_dir():
            out.rmdir()
        made.rename(out)
    return result


def _known(protocol: str) -> tuple[tuple[int, ...], Callable[[Path], set[str]]]:
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown --protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]


def _pictures(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(1 for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
