"""What a run over many pictures has done so far: a journal while it runs, a manifest when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write, write_bytes

__all__ = ["JOURNAL", "MANIFEST", "Entry", "Journal", "earlier_entries"]

MANIFEST = "align.json"
"""The list of a finished run: the settings, and one entry per picture under `pictures`."""

JOURNAL = "align.part.jsonl"
"""The list of an unfinished run: the settings in the first line, then one entry per line."""

Entry = dict[str, Any]


class Journal:
    """One JSON line per finished picture, so that a killed run is taken up where it stopped."""

    def __init__(self, target: Path, header: Entry, earlier: Iterable[Entry], name: str = JOURNAL) -> None:
        lines = [header, *earlier]
        self._path = target / name
        write_bytes(self._path, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def __enter__(self) -> Journal:
        self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, entry: Entry) -> None:
        try:
            self._stream.write(json.dumps(entry) + "\n")
            self._stream.flush()
        except OSError as exc:
            raise cannot_write(self._path, exc) from exc


def earlier_entries(
    target: Path, header: Entry, manifest: str = MANIFEST, journal: str = JOURNAL, made: str = "aligned"
) -> dict[str, Entry]:
    """What earlier runs into `target` did, by source; the journal of a killed run counts before the manifest.

    Raises:
        InputError: what lies there is no such list, of another source, or of other settings.
    """
    found: dict[str, Entry] = {}
    for path in (target / manifest, target / journal):
        if not path.is_file():
            continue
        begun, entries = _read_manifest(path) if path.name == manifest else _read_journal(path)
        if begun.get("format") != header["format"]:
            raise InputError(f"{path} is no list of {made} faces: remove it or choose another folder")
        if begun.get("source") != header["source"]:
            other = begun.get("source") or "an unnamed folder"
            raise InputError(f"{target} holds the crops of {other}: choose another folder for {header['source']}")
        if begun != header:
            raise InputError(f"{target} was begun with other settings: choose another folder, or remove it")
        found.update({entry["source"]: entry for entry in entries if isinstance(entry.get("source"), str)})
    return found


def _read_manifest(path: Path) -> tuple[Entry, list[Entry]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, []
    if not isinstance(content, dict) or not isinstance(content.get("pictures"), list):
        return {}, []
    entries = [entry for entry in content.pop("pictures") if isinstance(entry, dict)]
    content.pop("notes", None)  # tell of the pictures, decide nothing
    return content, entries


def _read_journal(path: Path) -> tuple[Entry, list[Entry]]:
    lines: list[Entry] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break  # the line the run was killed in
    return (lines[0], lines[1:]) if lines and all(isinstance(line, dict) for line in lines) else ({}, [])
