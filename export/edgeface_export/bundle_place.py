"""Putting a finished bundle in its place: a folder or one `.tar`, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from edgeface_runtime.bundle import pack_bundle
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write, part_folder
from edgeface_runtime.manifest import FORMAT, MANIFEST_NAME
from edgeface_runtime.shipped import refuse_shipped

__all__ = ["bundle_folder", "check_place"]

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
"""Ends of names that promise what a bundle never is."""


@contextlib.contextmanager
def bundle_folder(out: Path) -> Iterator[Path]:
    """An empty folder to make a bundle in; at the end it becomes `out`, in the place of the bundle that was there.

    On an error nothing is left behind and what was there stays.

    Raises:
        InputError: `out` cannot be written.
    """
    refuse_shipped(out, "other files")
    with part_folder(out) as work, _named(out, work):
        folder = work / "bundle"
        folder.mkdir()
        yield folder
        if out.suffix == ".tar":
            pack_bundle(folder, work / "bundle.tar").replace(out)
        else:
            _put(folder, out, work / "replaced")


def check_place(out: Path, overwrite: bool) -> None:
    """Refuse a compressed file's name, what is not a bundle, and a bundle unless it may be replaced.

    Raises:
        InputError: in one line, what to do instead.
    """
    if out.name.lower().endswith(COMPRESSED):
        raise InputError(f"--out {out}: a bundle is a folder or an uncompressed .tar: give a name of one of them")
    if not os.path.lexists(out) or (out.suffix != ".tar" and out.is_dir() and not any(out.iterdir())):
        return
    if not _is_bundle(out):
        raise InputError(f"{out} exists and is not a bundle: choose another --out")
    if not overwrite:
        raise InputError(f"{out} exists: choose another --out, or replace it with --force")


def _is_bundle(out: Path) -> bool:
    if out.is_symlink() or (out.suffix == ".tar") != out.is_file():
        return False
    try:
        if out.is_dir():
            text = (out / MANIFEST_NAME).read_bytes()
        else:
            with tarfile.open(out, "r:") as archive:
                member = archive.extractfile(MANIFEST_NAME)
                text = member.read() if member else b""
        data = json.loads(text)
    except (OSError, ValueError, KeyError, tarfile.TarError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def _put(folder: Path, out: Path, aside: Path) -> None:
    """Move the finished folder to its place; the old one is only removed once the new one is there."""
    replaced = out.is_dir() and any(out.iterdir())
    if replaced:
        out.rename(aside)
    try:
        folder.rename(out)
    except OSError:
        if replaced:
            aside.rename(out)
        raise


@contextlib.contextmanager
def _named(out: Path, work: Path) -> Iterator[None]:
    """Have errors of writing name the file that was to be, not where it lay for the moment."""
    try:
        yield
    except OSError as exc:
        raise cannot_write(out, exc) from exc
    except InputError as exc:
        inside = str(work / "bundle")
        if inside not in str(exc):
            raise
        raise InputError(str(exc).replace(f"{inside}.tar", str(out)).replace(inside, str(out))) from exc
