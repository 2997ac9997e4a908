"""What an alignment run is given: the pictures below SRC, the files it cannot read, and the crops' names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.image import IMAGE_SUFFIXES, list_images

__all__ = ["OTHER_FORMAT", "list_sources", "target_names"]

FORMATS = ", ".join(sorted(IMAGE_SUFFIXES))
OTHER_FORMAT = f"not a format edgeface reads ({FORMATS})"

NO_PICTURES = frozenset({".txt", ".json", ".md", ".csv", ".xml"})
"""Suffixes of what lies beside pictures and nobody takes for one."""
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})


def list_sources(source: Path) -> tuple[list[Path], list[Path]]:
    """The pictures below `source`, and the other files in people's folders that may be meant as pictures, sorted.

    Raises:
        InputError: `source` is missing, no folder, or without a picture.
    """
    pictures = list_images(source, recursive=True)
    others = sorted(path for path in source.rglob("*") if _may_be_meant(path, path.relative_to(source)))
    if not pictures:
        found = f", {len(others)} files of other formats (first {others[0].relative_to(source)})" if others else ""
        raise InputError(f"no pictures below {source}{found}: it needs one folder per person, of {FORMATS} files")
    return pictures, others


def _may_be_meant(path: Path, name: Path) -> bool:
    if len(name.parts) < 2 or any(part.startswith(".") for part in name.parts):
        return False
    known = path.suffix.lower() in IMAGE_SUFFIXES | NO_PICTURES or path.name.lower() in SYSTEM_FILES
    return not known and path.is_file()


def target_names(names: Iterable[Path]) -> dict[Path, str | None]:
    """For each picture its crop's name within the target, no two alike; None for one in no person's folder."""
    taken: set[str] = set()
    targets: dict[Path, str | None] = {}
    for name in names:
        if len(name.parts) < 2:
            targets[name] = None
            continue
        person, rest = name.parts[0], "_".join(name.parts[1:])
        choices = [f"{person}/{Path(rest).stem}.jpg", f"{person}/{rest}.jpg"]
        choices += [f"{person}/{rest}.{number}.jpg" for number in range(2, len(taken) + 3)]
        targets[name] = next(choice for choice in choices if choice.lower() not in taken)
        taken.add(str(targets[name]).lower())
    return targets
