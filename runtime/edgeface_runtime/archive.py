"""Bundles as one `.tar`: packing, and unpacking that trusts nothing in the archive.

Only uncompressed archives of regular files and folders are taken, every path is checked before a byte is written, and
the files are written by us, never by the archive's own modes and links.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
import tempfile
import weakref
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from edgeface_runtime.cache import cache_dir, remembered_sha256
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import atomic_path
from edgeface_runtime.manifest import MANIFEST_NAME, SIGNATURE_NAME, read_manifest

__all__ = ["Unpacked", "forget_unpacked", "pack_bundle", "unpack_bundle"]

MAX_MEMBERS = 10_000
BLOCK = 512
"""Of a tar: headers and files begin at multiples of it."""
MOST_AT_ONCE = 1 << 20


class Unpacked:
    """A folder that holds an archive's files; a temporary one is removed with this object."""

    def __init__(self, folder: Path, temporary: Path | None = None) -> None:
        self.folder = folder
        self.temporary = temporary is not None
        if temporary is not None:
            weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)


def pack_bundle(folder: Path, path: Path, signature: bytes | None = None) -> Path:
    """Write the bundle in `folder` as one `.tar`, equal bytes for equal content; only the files its manifest lists.

    `signature` is the content of its signature; None takes the one in the folder, if there is one.

    Raises:
        ArtefactError: `folder` is not a bundle.
        InputError: `path` cannot be written.
    """
    names = [MANIFEST_NAME, *sorted(read_manifest(folder).files)]
    if signature is None and (folder / SIGNATURE_NAME).is_file():
        signature = (folder / SIGNATURE_NAME).read_bytes()
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = (folder / name).stat().st_size
            with (folder / name).open("rb") as stream:
                archive.addfile(member, stream)
        if signature is not None:
            member = tarfile.TarInfo(SIGNATURE_NAME)
            member.size = len(signature)
            archive.addfile(member, io.BytesIO(signature))
    return path


def unpack_bundle(path: Path) -> Unpacked:
    """Unpack a bundle's `.tar` into the cache folder, keyed by its content, or reuse what lies there.

    Where the cache cannot be written, a temporary folder is used that lives as long as the result.

    Raises:
        ArtefactError: not a tar, truncated, compressed, without a manifest, or with a member no bundle has.
    """
    try:
        digest = remembered_sha256(path)
    except OSError as exc:
        raise ArtefactError(f"cannot read {path}: {exc.strerror or exc}") from exc
    cache = cache_dir()
    if cache is not None:
        home = cache / "bundles"
        final = home / digest[:32]
        if (found := _bundle_root(final)) is not None:
            return Unpacked(found)
        part = _new_folder(home)
        if part is not None:
            return Unpacked(_extract_into_cache(path, part, final))
    part = Path(tempfile.mkdtemp(prefix="edgeface-"))
    try:
        _extract(path, part)
        return Unpacked(_required_root(path, part), part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def forget_unpacked(path: Path) -> None:
    """Remove what the cache holds of this archive, so that the next `unpack_bundle` starts from the archive."""
    if (cache := cache_dir()) is not None:
        with contextlib.suppress(OSError):
            shutil.rmtree(cache / "bundles" / remembered_sha256(path)[:32])


def _new_folder(home: Path) -> Path | None:
    """A fresh folder in the cache, or None where the cache cannot be written."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".part-", dir=home))
    except OSError:
        return None


def _extract_into_cache(path: Path, part: Path, final: Path) -> Path:
    try:
        _extract(path, part)
        _required_root(path, part)
        part.chmod(0o755)
        # Another process may have been faster: then its copy, of the same content, is used.
        with contextlib.suppress(OSError):
            part.rename(final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _required_root(path, final)


def _bundle_root(folder: Path) -> Path | None:
    """Where the manifest lies: the folder itself, or the only folder in it."""
    if (folder / MANIFEST_NAME).is_file():
        return folder
    inner = list(folder.iterdir()) if folder.is_dir() else []
    if len(inner) == 1 and (inner[0] / MANIFEST_NAME).is_file():
        return inner[0]
    return None


def _required_root(path: Path, folder: Path) -> Path:
    root = _bundle_root(folder)
    if root is None:
        raise ArtefactError(
            f"{path} is not a bundle: {MANIFEST_NAME} is missing (truncated?): copy or export it again"
        )
    return root


def _extract(path: Path, folder: Path) -> None:
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            end = 0
            for count, member in enumerate(archive):
                if count >= MAX_MEMBERS:
                    raise ArtefactError(f"{path} is not a bundle: it has more than {MAX_MEMBERS} members")
                _extract_member(path, archive, member, folder)
                end = member.offset_data + (member.size if member.isreg() else 0)
                _check_zeros(path, stream, end, -end % BLOCK)
            _check_end(path, stream, end + -end % BLOCK)
    except (tarfile.TarError, EOFError, ValueError) as exc:
        raise ArtefactError(f"{path} is damaged or not a plain tar archive: copy or export the bundle again") from exc
    except OSError as exc:
        raise ArtefactError(f"cannot unpack {path}: {exc.strerror or exc}") from exc


def _check_zeros(path: Path, stream: BinaryIO, start: int, count: int) -> None:
    """The bytes between members are nothing: anything else is damage, or something hidden."""
    stream.seek(start)
    if stream.read(count).strip(b"\0"):
        raise ArtefactError(f"{path} is damaged: there is something between its files: copy or export it again")


def _check_end(path: Path, stream: BinaryIO, start: int) -> None:
    """Two empty blocks or more end an archive; a header that was damaged looks like an end to tarfile."""
    size = stream.seek(0, io.SEEK_END)
    if size < start + 2 * BLOCK or size % BLOCK:
        raise ArtefactError(f"{path} is truncated: copy or export the bundle again")
    for at in range(start, size, MOST_AT_ONCE):
        _check_zeros(path, stream, at, MOST_AT_ONCE)


def _extract_member(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
        raise ArtefactError(f"{path} has a member that leads outside: {member.name!r}: do not use this bundle")
    if member.isdir():
        (folder / name).mkdir(parents=True, exist_ok=True)
        return
    if not member.isreg() or member.issparse():
        raise ArtefactError(
            f"{path} has a member that is neither file nor folder: {member.name!r}: do not use this bundle"
        )
    source = archive.extractfile(member)
    assert source is not None
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source, target.open("xb") as stream:
            shutil.copyfileobj(source, stream)
    except FileExistsError as exc:
        raise ArtefactError(f"{path} has the member {member.name!r} twice: do not use this bundle") from exc
    if target.stat().st_size != member.size:
        raise ArtefactError(f"{path} is truncated: copy or export the bundle again")
