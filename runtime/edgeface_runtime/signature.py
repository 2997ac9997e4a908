"""Signatures by Ed25519: who made a bundle or an engine. A hash stops accidents, a signature stops strangers.

What is signed is the small file that holds the hashes: `manifest.json` of a bundle (`manifest.sig` beside it), the
sidecar of an engine (`X.engine.sig`). The signature is a small JSON file of format, version, algorithm, fingerprint
of the public key and the signature in base64. Signing is in `edgeface_export`: a device has no private key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeface_runtime.bundle import Bundle
from edgeface_runtime.errors import EXTRAS, ArtefactError, InputError, MissingExtraError
from edgeface_runtime.files import require_file
from edgeface_runtime.manifest import MANIFEST_NAME, SIGNATURE_NAME, Manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = [
    "ALGORITHM",
    "FORMAT",
    "VARIABLE",
    "VERSION",
    "check_bundle_signature",
    "check_signature",
    "fingerprint",
    "is_signed",
    "load_public_key",
    "required_key",
    "require_cryptography",
    "signature_bytes",
]

FORMAT = "edgeface-signature"
VERSION = 1
ALGORITHM = "ed25519"
VARIABLE = "EDGEFACE_REQUIRE_SIGNATURE"
"""Environment variable that names the public key every bundle and engine must be signed by."""


def required_key(given: str | Path | None = None) -> Path | None:
    """The public key that must have signed what is loaded: the one given, else that of VARIABLE, else None.

    Raises:
        InputError: it is set and empty, which may be a mistake and must not switch the check off.
    """
    named = str(given) if given is not None else os.environ.get(VARIABLE)
    if named == "":
        raise InputError(f"{VARIABLE} is empty: name a public key in it, or unset it")
    return None if named is None else Path(named)


def is_signed(bundle: Path) -> bool:
    """Whether a signature lies in a bundle's folder, of whoever it may be."""
    return (bundle / SIGNATURE_NAME).is_file()


def check_bundle_signature(bundle: Bundle, key: Path) -> str:
    """Refuse an open bundle that is not signed by `key`; returns the key's fingerprint.

    Open it with `full`: a remembered hash is believed by size and time, which a stranger can set.

    Raises:
        ArtefactError: not signed, by another key, or altered after it was signed.
        InputError: `key` is no public key.
        MissingExtraError: the package `cryptography` is not installed.
    """
    what = f"bundle {bundle.source}"
    file = bundle.folder / MANIFEST_NAME
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise ArtefactError(f"cannot read {file}: {exc.strerror or exc}") from exc
    found = check_signature(content, bundle.folder / SIGNATURE_NAME, key, what, bundle.source)
    if Manifest.from_dict(json.loads(content)) != bundle.manifest:
        raise ArtefactError(f"{what} changed while it was opened: try again")
    return found


def check_signature(content: bytes, file: Path, key: Path, what: str, target: Path) -> str:
    """Refuse content whose signature in `file` is not by `key`; returns the key's fingerprint.

    Args:
        what: that was signed, for messages.
        target: what `edgeface bundle sign` would be given.
    """
    require_cryptography()
    from cryptography.exceptions import InvalidSignature

    public = load_public_key(key)
    own = fingerprint(public)
    sign = f"edgeface bundle sign {shlex.quote(str(target))} --key PRIVATE"
    if not file.is_file():
        raise ArtefactError(f"{what} is not signed: take one that is, or sign it with {sign}")
    signer, signature = _read(file, sign)
    if signer != own:
        raise ArtefactError(
            f"{what} is signed by key {signer[:12]}, {key} is key {own[:12]}: do not use it, or give its signer's key"
        )
    try:
        public.verify(signature, content)
    except InvalidSignature as exc:
        raise ArtefactError(
            f"{what} was altered after it was signed: do not use it, or, if you did that, sign it with {sign}"
        ) from exc
    return own


def _read(file: Path, sign: str) -> tuple[str, bytes]:
    """Fingerprint of the signer and the signature."""
    try:
        data: Any = json.loads(file.read_bytes())
    except OSError as exc:
        raise ArtefactError(f"cannot read {file}: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ArtefactError(f"{file} is damaged: it is not JSON: copy it again, or {sign}") from exc
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtefactError(f"{file} is not a signature: copy it again, or {sign}")
    if data.get("version") != VERSION or data.get("algorithm") != ALGORITHM:
        raise ArtefactError(
            f"{file} is of version {data.get('version')!r} by {data.get('algorithm')!r}, "
            f"this edgeface reads version {VERSION} by {ALGORITHM}: upgrade edgeface, or {sign}"
        )
    try:
        signature = base64.b64decode(data["signature"], validate=True)
        signer = str(data["key"])
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        raise ArtefactError(f"{file} is damaged: copy it again, or {sign}") from exc
    return signer, signature


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The Ed25519 public key of a PEM file.

    Raises:
        InputError: missing, or not one.
    """
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        content = require_file(path, "public key").read_bytes()
        if b"PRIVATE KEY" in content:
            raise InputError(f"{path} is a private key: give the public one, and keep this one off devices")
        key = load_pem_public_key(content)
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise InputError(f"{path} is no public key (PEM): make a pair with edgeface bundle keygen") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is no Ed25519 key: make a pair with edgeface bundle keygen")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Hex SHA-256 of a public key's 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def signature_bytes(key: str, signature: bytes) -> bytes:
    """The content of a signature's file: `key` is the fingerprint of the public key."""
    text = base64.b64encode(signature).decode()
    data = {"format": FORMAT, "version": VERSION, "algorithm": ALGORITHM, "key": key, "signature": text}
    return (json.dumps(data, indent=2) + "\n").encode()


def require_cryptography() -> None:
    """Raise MissingExtraError unless the package `cryptography` is installed."""
    try:
        import cryptography  # noqa: F401
    except ImportError as exc:
        raise MissingExtraError("cryptography", EXTRAS["cryptography"]) from exc
