"""The key of an encrypted gallery: 32 bytes from a file or the environment, or a passphrase stretched by scrypt.

A key is written as 64 hexadecimal digits. A passphrase becomes a key by scrypt (RFC 7914) with a salt of the
gallery's own; salt and parameters lie in the gallery.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write, make_parent, require_file
from edgeface_runtime.signature import require_cryptography

__all__ = [
    "KEY_BYTES",
    "KEY_VARIABLE",
    "PASSPHRASE_VARIABLE",
    "GalleryKey",
    "Scrypt",
    "key_from_environment",
    "make_key_file",
]

KEY_BYTES = 32
KEY_VARIABLE = "EDGEFACE_GALLERY_KEY"
"""Environment variable that holds a key, 64 hexadecimal digits."""
PASSPHRASE_VARIABLE = "EDGEFACE_GALLERY_PASSPHRASE"
"""Environment variable that holds a passphrase."""
SHORTEST = 8
"""Characters of a passphrase that encrypts a gallery."""
MAX_MEMORY_BYTES = 1 << 30
MAX_WORK = 1 << 24
HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Scrypt:
    """How a passphrase becomes a key: OWASP's least for 64 MiB, .4 s on a server CPU."""

    salt: bytes
    n: int = 65536
    r: int = 8
    p: int = 2

    def __post_init__(self) -> None:
        sane = self.n > 1 and self.n & (self.n - 1) == 0 and self.r >= 1 and self.p >= 1 and len(self.salt) >= 16
        # A header that was tampered with must not take all memory, or hours.
        if not sane or 128 * self.n * self.r > MAX_MEMORY_BYTES or self.n * self.r * self.p > MAX_WORK:
            raise ValueError("scrypt's parameters are out of range")

    @classmethod
    def new(cls) -> Scrypt:
        """With a random salt."""
        return cls(secrets.token_bytes(16))

    def to_text(self) -> str:
        """As it lies in the gallery."""
        return json.dumps({"name": "scrypt", "n": self.n, "r": self.r, "p": self.p, "salt": self.salt.hex()})

    @classmethod
    def from_text(cls, text: str) -> Scrypt:
        """Read what `to_text` wrote; ValueError where it is something else."""
        try:
            data = json.loads(text)
            if data["name"] != "scrypt" or not all(isinstance(data[part], int) for part in ("n", "r", "p")):
                raise ValueError("not scrypt")
            return cls(bytes.fromhex(data["salt"]), data["n"], data["r"], data["p"])
        except (KeyError, TypeError, RecursionError) as exc:
            raise ValueError("not scrypt") from exc

    def derive(self, passphrase: bytes) -> bytes:
        """The key, 32 bytes."""
        require_cryptography()
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt as Derivation

        return Derivation(salt=self.salt, length=KEY_BYTES, n=self.n, r=self.r, p=self.p).derive(passphrase)


@dataclass(frozen=True, eq=False)
class GalleryKey:
    """What opens an encrypted gallery. Its text form shows no secret."""

    secret: bytes = field(repr=False)
    """A key's 32 bytes, or a passphrase in UTF-8."""
    kind: Literal["key", "passphrase"] = "key"
    _derived: dict[Scrypt, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.kind == "key" and len(self.secret) != KEY_BYTES:
            raise InputError(f"a gallery's key has {KEY_BYTES} bytes, not {len(self.secret)}")
        if not self.secret:
            raise InputError("the passphrase is empty")

    @classmethod
    def from_text(cls, text: str, source: str) -> GalleryKey:
        """A key of 64 hexadecimal digits, blanks around them dropped.

        Args:
            text: the digits.
            source: where they come from, for the message.

        Raises:
            InputError: something else; the message does not show it.
        """
        if not HEX.fullmatch(text.strip()):
            raise InputError(f"{source} holds no key of 64 hexadecimal digits: make one with edgeface gallery keygen")
        return cls(bytes.fromhex(text.strip()))

    @classmethod
    def from_file(cls, path: str | Path) -> GalleryKey:
        """The key of a file, as `make_key_file` writes it.

        Raises:
            InputError: it cannot be read, or holds no key.
        """
        return cls.from_text(_text(Path(path), "key file"), f"key file {path}")

    @classmethod
    def from_passphrase(cls, passphrase: str) -> GalleryKey:
        """A passphrase; one spelling (NFC) for what looks the same."""
        return cls(unicodedata.normalize("NFC", passphrase).encode(), "passphrase")

    @classmethod
    def from_passphrase_file(cls, path: str | Path) -> GalleryKey:
        """The passphrase in a file, without the line's end.

        Raises:
            InputError: it cannot be read, or is empty.
        """
        text = _text(Path(path), "passphrase file").rstrip("\r\n")
        if not text:
            raise InputError(f"passphrase file {path} is empty")
        return cls.from_passphrase(text)

    def for_encrypting(self) -> GalleryKey:
        """Itself, where it is good enough to encrypt with.

        Raises:
            InputError: a short passphrase.
        """
        if self.kind == "passphrase" and len(self.secret.decode()) < SHORTEST:
            raise InputError(f"the passphrase is short: give at least {SHORTEST} characters")
        return self

    def same_as(self, other: GalleryKey) -> bool:
        """Whether both open the same."""
        return self.kind == other.kind and hmac.compare_digest(self.secret, other.secret)

    def master(self, derivation: Scrypt | None) -> bytes:
        """The 32 bytes that a gallery's keys come from; a passphrase needs the gallery's `derivation`, a key none."""
        if derivation is None:
            return self.secret
        if derivation not in self._derived:
            self._derived.clear()
            self._derived[derivation] = derivation.derive(self.secret)
        return self._derived[derivation]


def key_from_environment() -> GalleryKey | None:
    """The key of KEY_VARIABLE or the passphrase of PASSPHRASE_VARIABLE; None where neither is set.

    Raises:
        InputError: both are set, one is empty, or KEY_VARIABLE holds no key.
    """
    key, passphrase = os.environ.get(KEY_VARIABLE), os.environ.get(PASSPHRASE_VARIABLE)
    if key is not None and passphrase is not None:
        raise InputError(f"{KEY_VARIABLE} and {PASSPHRASE_VARIABLE} are both set: unset one")
    if key is not None:
        return GalleryKey.from_text(key, KEY_VARIABLE)
    if passphrase == "":
        raise InputError(f"{PASSPHRASE_VARIABLE} is empty: put the passphrase in it, or unset it")
    return None if passphrase is None else GalleryKey.from_passphrase(passphrase)


def make_key_file(path: Path) -> None:
    """Write a random key to a new file that only its owner may read.

    Raises:
        InputError: the file is there, or cannot be written.
    """
    make_parent(path)
    made = False
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        made = True
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
            stream.flush()
            os.fsync(handle)
    except FileExistsError as exc:
        raise InputError(f"{path} exists: choose another name; the gallery it opens needs it") from exc
    except OSError as exc:
        if made:
            path.unlink(missing_ok=True)
        raise cannot_write(path, exc) from exc


def _text(path: Path, what: str) -> str:
    try:
        return require_file(path, what).read_text(encoding="utf-8")
    except OSError as exc:
        raise InputError(f"cannot read {what} {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"{what} {path} is no text") from exc
