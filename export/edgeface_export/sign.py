"""Signing bundles and engines by Ed25519; what reads and checks signatures is `edgeface_runtime.signature`.

The private key is a PEM file (PKCS#8, not encrypted) that only its owner may read. It belongs where releases are
made, never on a device.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface_runtime.archive import pack_bundle
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.engine import parse_sidecar, sidecar_bytes, signature_path
from edgeface_runtime.engine_check import whole_engine
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import cannot_write, make_parent, require_file, write_bytes
from edgeface_runtime.manifest import MANIFEST_NAME, SIGNATURE_NAME
from edgeface_runtime.shipped import refuse_shipped
from edgeface_runtime.signature import fingerprint, require_cryptography, signature_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PRIVATE_NAME", "PUBLIC_NAME", "KeyPair", "Signed", "make_keys", "sign_bundle", "sign_engine"]

PRIVATE_NAME = "edgeface-private.pem"
PUBLIC_NAME = "edgeface-public.pem"


@dataclass(frozen=True)
class KeyPair:
    """Two files."""

    private: Path
    """Keep it secret: whoever has it signs in your name."""
    public: Path
    """Goes on devices."""
    key: str
    """Fingerprint: hex SHA-256 of the public key's 32 bytes."""


@dataclass(frozen=True)
class Signed:
    """What was signed."""

    target: Path
    signature: Path
    """Where the signature is; a `.tar` itself, which now holds it."""
    key: str
    """Fingerprint of the public key."""


def make_keys(folder: Path) -> KeyPair:
    """Make a pair of keys in `folder`; the private one can be read by its owner only.

    Raises:
        InputError: one of the files is there, or cannot be written.
        MissingExtraError: the package `cryptography` is not installed.
    """
    require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = folder / PRIVATE_NAME, folder / PUBLIC_NAME
    for path in (private, public):
        if os.path.lexists(path):
            raise InputError(f"{path} exists: choose another --out; what that key signed needs it")
    made = Ed25519PrivateKey.generate()
    secret = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    make_parent(private)
    try:
        # Readable by nobody else from the first moment, which a file that is renamed into place would not be.
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(secret)
            stream.flush()
            os.fsync(handle)
        write_bytes(
            public,
            made.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )
    except FileExistsError as exc:
        raise InputError(f"{private} exists: choose another --out; what that key signed needs it") from exc
    except OSError as exc:
        private.unlink(missing_ok=True)
        raise cannot_write(private, exc) from exc
    except InputError:
        private.unlink(missing_ok=True)
        raise
    return KeyPair(private, public, fingerprint(made.public_key()))


def sign_bundle(path: Path, key: Path) -> Signed:
    """Sign a bundle's manifest, after all of its files were checked; a `.tar` is written anew with the signature.

    Raises:
        ArtefactError: the bundle is damaged.
        InputError: `key` is no private key, or the signature cannot be written.
        MissingExtraError: the package `cryptography` is not installed.
    """
    refuse_shipped(path, "signature")
    private = _load_private_key(key)
    bundle = open_bundle(path, full=True)
    name = fingerprint(private.public_key())
    content = signature_bytes(name, private.sign((bundle.folder / MANIFEST_NAME).read_bytes()))
    if bundle.source.is_file():
        pack_bundle(bundle.folder, bundle.source, content)
        return Signed(bundle.source, bundle.source, name)
    write_bytes(bundle.folder / SIGNATURE_NAME, content)
    return Signed(bundle.source, bundle.folder / SIGNATURE_NAME, name)


def sign_engine(path: Path, key: Path) -> Signed:
    """Sign an engine's sidecar, which holds the engine's hash, after that was checked. Raises as `sign_bundle`."""
    private = _load_private_key(key)
    require_file(path, "engine")
    content = sidecar_bytes(path)
    if parse_sidecar(content, path) != whole_engine(path).sidecar:
        raise ArtefactError(f"engine {path} changed while it was read: try again")
    name = fingerprint(private.public_key())
    write_bytes(signature_path(path), signature_bytes(name, private.sign(content)))
    return Signed(path, signature_path(path), name)


def _load_private_key(path: Path) -> Ed25519PrivateKey:
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        content = require_file(path, "private key").read_bytes()
        if b"PUBLIC KEY" in content:
            raise InputError(f"{path} is a public key: signing takes the private one")
        key = load_pem_private_key(content, password=None)
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise InputError(
            f"{path} is no private key (PEM, not encrypted): make a pair with edgeface bundle keygen"
        ) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is no Ed25519 key: make a pair with edgeface bundle keygen")
    return key
