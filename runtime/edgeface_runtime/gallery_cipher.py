"""The cryptography of an encrypted gallery: AES-256-GCM, one random key a person, wrapped by the gallery's key.

From the master key (`GalleryKey.master`) HKDF-SHA256 (RFC 5869), salted with the gallery's id, makes a wrapping key,
a lookup key and a key id. A person's key encrypts their name, templates, sources and features. What is encrypted is
bound to where it belongs as associated data, so that it opens nowhere else:

    edgeface-gallery-1 NUL what NUL gallery id NUL person NUL place NUL model id

`what` is key, name, template, source or features; `place` is the row's id, NUL and its time for a template's columns,
the lookup in hex for a key, empty for a name. Nonces are random, 12 bytes in front of the ciphertext: a key must not
encrypt more than 2**32 times (NIST SP 800-38D), which no person, and no gallery of people, comes near.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from edgeface_runtime.gallery_key import KEY_BYTES
from edgeface_runtime.signature import require_cryptography

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["EXTRA_BYTES", "LOOKUP_BYTES", "Cipher", "PersonKey", "TamperedError", "padded", "unpadded"]

LABEL = "edgeface-gallery-1"
NONCE_BYTES = 12
TAG_BYTES = 16
EXTRA_BYTES = NONCE_BYTES + TAG_BYTES
"""What encryption adds to the length."""
LOOKUP_BYTES = 16
PAD = 64


class TamperedError(Exception):
    """It is not what was encrypted for this place."""


def _open(aead: AESGCM, sealed: object, context: bytes) -> bytes:
    if not isinstance(sealed, bytes) or len(sealed) < EXTRA_BYTES:
        raise TamperedError
    try:
        return aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except Exception as exc:
        from cryptography.exceptions import InvalidTag  # importing it each time costs as much as decrypting

        if not isinstance(exc, InvalidTag):
            raise
        raise TamperedError from exc


def _seal(aead: AESGCM, plain: bytes, context: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + aead.encrypt(nonce, plain, context)


def padded(text: str) -> bytes:
    """UTF-8, 0x80 and zeros up to a multiple of 64 bytes, so that a length tells little."""
    plain = text.encode("utf-8", "surrogateescape") + b"\x80"
    return plain.ljust(-(-len(plain) // PAD) * PAD, b"\0")


def unpadded(plain: bytes) -> str:
    """The text `padded` was given."""
    return plain.rstrip(b"\0")[:-1].decode("utf-8", "surrogateescape")


class PersonKey:
    """One person's key, and what it opens."""

    def __init__(self, aead: AESGCM, person: str, before: str, after: str) -> None:
        self.person = person
        """Stands for the person in the file; random."""
        self._aead = aead
        self._before, self._after = before, f"\0{after}"

    def seal(self, what: str, place: str, plain: bytes) -> bytes:
        """Nonce, ciphertext and tag."""
        return _seal(self._aead, plain, self._context(what, place))

    def open(self, what: str, place: str, sealed: object) -> bytes:
        """What was sealed; TamperedError where it is something else."""
        return _open(self._aead, sealed, self._context(what, place))

    def _context(self, what: str, place: str) -> bytes:
        return f"{LABEL}\0{what}\0{self._before}\0{self.person}\0{place}{self._after}".encode()


class Cipher:
    """The keys of one gallery.

    Args:
        master: 32 bytes.
        gallery_id: of the gallery, hex.
        model_id: whose templates it keeps.

    Raises:
        MissingExtraError: the package `cryptography` is not installed.
    """

    def __init__(self, master: bytes, gallery_id: str, model_id: str) -> None:
        require_cryptography()
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.gallery_id, self.model_id = gallery_id, model_id
        self.key_id = self._derive(master, "id")[:8].hex()
        """Tells keys apart; says nothing about the key."""
        self._aead = AESGCM
        self._wrapping = AESGCM(self._derive(master, "wrap"))
        self._lookup = self._derive(master, "lookup")

    def _derive(self, master: bytes, use: str) -> bytes:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = f"{LABEL} {use}".encode()
        return HKDF(SHA256(), KEY_BYTES, self.gallery_id.encode(), info).derive(master)

    def seal_header(self, header: bytes) -> str:
        """What proves, to who has the key, that the header is as it was written; hex."""
        return _seal(self._wrapping, b"", header).hex()

    def check_header(self, header: bytes, proof: str) -> None:
        """Raise TamperedError unless `seal_header` gave `proof` for this header."""
        try:
            sealed = bytes.fromhex(proof)
        except ValueError as exc:
            raise TamperedError from exc
        _open(self._wrapping, sealed, header)

    def lookup(self, name: str) -> bytes:
        """What a person is found by, 16 bytes: HMAC-SHA256 of the name."""
        return hmac.digest(self._lookup, name.encode("utf-8", "surrogateescape"), "sha256")[:LOOKUP_BYTES]

    def new_person(self, lookup: bytes) -> tuple[PersonKey, bytes]:
        """A new person's key, and as it is wrapped."""
        key, person = os.urandom(KEY_BYTES), os.urandom(12).hex()
        return self._person(key, person), _seal(self._wrapping, key, self._wrapped(person, lookup))

    def person(self, person: str, lookup: object, wrapped: object) -> PersonKey:
        """The key of a row of `people`; TamperedError where the row was changed."""
        return self._person(self._unwrap(person, lookup, wrapped), person)

    def rewrap(self, person: str, lookup: object, wrapped: object, to: Cipher, name: str) -> tuple[bytes, bytes]:
        """The row's lookup and wrapped key by another cipher; TamperedError where the row was changed."""
        key, new = self._unwrap(person, lookup, wrapped), to.lookup(name)
        return new, _seal(to._wrapping, key, to._wrapped(person, new))

    def _unwrap(self, person: str, lookup: object, wrapped: object) -> bytes:
        if not isinstance(lookup, bytes):
            raise TamperedError
        return _open(self._wrapping, wrapped, self._wrapped(person, lookup))

    def _wrapped(self, person: str, lookup: bytes) -> bytes:
        return f"{LABEL}\0key\0{self.gallery_id}\0{person}\0{lookup.hex()}\0{self.model_id}".encode()

    def _person(self, key: bytes, person: str) -> PersonKey:
        return PersonKey(self._aead(key), person, self.gallery_id, self.model_id)
