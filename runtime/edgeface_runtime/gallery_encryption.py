"""What an encrypted gallery says of itself in `meta`, and opening it by its key.

`encryption` is the version of all this, `gallery_id` random, `kdf` how a passphrase becomes the key (or `none`),
`key_id` tells keys apart, and `key_proof` authenticates these and what else the gallery says of itself (PROVED).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from edgeface_runtime import gallery_store as store
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery_cipher import Cipher, TamperedError
from edgeface_runtime.gallery_key import KEY_VARIABLE, PASSPHRASE_VARIABLE, GalleryKey, Scrypt
from edgeface_runtime.gallery_layout import seal_meta
from edgeface_runtime.gallery_rows import ENCRYPTED_BY, Rows
from edgeface_runtime.gallery_sealed import PEOPLE, SealedRows, guard

__all__ = [
    "META",
    "describe_encryption",
    "encryption_of",
    "is_opened_by",
    "make_encrypted",
    "open_rows",
    "write_header",
]

ENCRYPTION = "1"
META = ("encryption", "kdf", ENCRYPTED_BY, "key_proof")
"""Keys of `meta` that only an encrypted gallery has."""
PROVED = ("format", "gallery_id", "model_id", "embedding_size", "features", "encryption", "kdf", ENCRYPTED_BY)


def describe_encryption(meta: Mapping[str, str]) -> str | None:
    """In words how a gallery is encrypted, None where it is not; needs no key."""
    if ENCRYPTED_BY not in meta:
        return None
    return "AES-256-GCM, " + ("by a key" if meta.get("kdf") == "none" else "by a passphrase (scrypt)")


def encryption_of(path: Path) -> str | None:
    """`describe_encryption` of a file.

    Raises:
        InputError: missing, or not readable.
        ArtefactError: no gallery, or damaged.
    """
    with store.guarded(path), contextlib.closing(store.connect(path, None)) as connection:
        return describe_encryption(store.read_meta(connection, path))


def make_encrypted(connection: sqlite3.Connection, key: GalleryKey, path: Path) -> SealedRows:
    """Make an empty gallery, or one about to be encrypted, an encrypted one; within the caller's transaction."""
    connection.execute(PEOPLE)
    row = connection.execute("SELECT value FROM meta WHERE key = 'gallery_id'").fetchone()
    if row is None:
        connection.execute("INSERT INTO meta VALUES ('gallery_id', ?)", (secrets.token_hex(16),))
    rows = SealedRows(path, write_header(connection, key))
    guard(connection)
    return rows


def write_header(connection: sqlite3.Connection, key: GalleryKey) -> Cipher:
    """Say in `meta` that the gallery is encrypted by `key`; the cipher. Within the caller's transaction."""
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    derivation = Scrypt.new() if key.kind == "passphrase" else None
    cipher = Cipher(key.master(derivation), meta["gallery_id"], meta["model_id"])
    meta["encryption"] = ENCRYPTION
    meta["kdf"] = "none" if derivation is None else derivation.to_text()
    meta[ENCRYPTED_BY] = cipher.key_id
    meta["key_proof"] = cipher.seal_header(_header(meta))
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(name, meta[name]) for name in META])
    seal_meta(connection)
    return cipher


def _derivation(meta: Mapping[str, str]) -> Scrypt | None:
    return None if meta["kdf"] == "none" else Scrypt.from_text(meta["kdf"])


def _header(meta: Mapping[str, str]) -> bytes:
    return json.dumps([meta.get(name) for name in PROVED]).encode()


def open_rows(meta: Mapping[str, str], key: GalleryKey | None, path: Path) -> Rows:
    """The rows of a gallery that was opened: plain ones, or encrypted ones by `key`. Writes nothing.

    Raises:
        InputError: no key for an encrypted gallery, the wrong one, or one for a plain gallery.
        ArtefactError: the header is damaged, was tampered with, or is too new.
        MissingExtraError: the package `cryptography` is not installed.
    """
    if not set(META) & set(meta):
        if key is not None:
            raise InputError(
                f"gallery {path} is not encrypted: open it without a key, or encrypt it with "
                "edgeface gallery rekey --encrypt"
            )
        return Rows(path)
    altered = ArtefactError(f"gallery {path} was tampered with or is damaged (its header): restore a backup of it")
    if meta.get("encryption", ENCRYPTION) != ENCRYPTION:
        raise ArtefactError(f"gallery {path} is encrypted in a way this edgeface does not know: upgrade edgeface")
    if not {*META, "gallery_id"} <= set(meta):
        raise altered
    try:
        derivation = _derivation(meta)
    except ValueError as exc:
        raise altered from exc
    how = "--key-file or --key-env" if derivation is None else "--passphrase or --passphrase-file"
    variable = KEY_VARIABLE if derivation is None else PASSPHRASE_VARIABLE
    if key is None:
        raise InputError(f"gallery {path} is encrypted: give {how}, or set {variable}")
    if (key.kind == "key") != (derivation is None):
        by = "a key" if derivation is None else "a passphrase"
        raise InputError(f"gallery {path} is encrypted by {by}: give {how}, or set {variable}")
    cipher = Cipher(key.master(derivation), meta["gallery_id"], meta["model_id"])
    if cipher.key_id != meta[ENCRYPTED_BY]:
        raise InputError(f"wrong {key.kind} for gallery {path}: give the one it was encrypted by")
    try:
        cipher.check_header(_header(meta), meta["key_proof"])
    except TamperedError as exc:
        raise altered from exc
    return SealedRows(path, cipher)


def is_opened_by(meta: Mapping[str, str], key: GalleryKey) -> bool:
    """Whether it is the key of the encrypted gallery with that header."""
    derivation = _derivation(meta)
    if (key.kind == "key") != (derivation is None):
        return False
    return Cipher(key.master(derivation), meta["gallery_id"], meta["model_id"]).key_id == meta[ENCRYPTED_BY]
