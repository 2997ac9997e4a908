"""Where a gallery on Milvus is: `milvus://[user:password@]host[:port]/[database/]name`, with TLS as `milvus+tls://`.

A token (`user:password`, or an API key) and the certificate of a private authority come from the environment. What is
secret is in no message and no `repr`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgeface_runtime.errors import InputError

__all__ = ["CA", "TOKEN", "MilvusAddress", "parse_address"]

TOKEN = "EDGEFACE_MILVUS_TOKEN"
CA = "EDGEFACE_MILVUS_CA"
PORT = 19530
SCHEMES = ("milvus", "milvus+tls")
EXAMPLE = "milvus://host:19530/name"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


@dataclass(frozen=True)
class MilvusAddress:
    """One collection on one server."""

    host: str
    """Name or address."""
    name: str
    """Of the collection."""
    port: int = PORT
    """TCP port of its gRPC service."""
    database: str = ""
    """Empty: the server's default."""
    tls: bool = False
    """Whether the connection is encrypted."""
    token: str = field(default="", repr=False)
    """`user:password` or an API key; empty for a server that asks for none."""
    ca: Path | None = None
    """Certificate (PEM) to trust; None: those the system trusts."""

    @property
    def uri(self) -> str:
        """As the client takes it, without the token."""
        return f"{'https' if self.tls else 'http'}://{self._authority}"

    @property
    def place(self) -> str:
        """As the user gave it, without the token."""
        database = f"{self.database}/" if self.database else ""
        return f"{SCHEMES[self.tls]}://{self._authority}/{database}{self.name}"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(spec: str | Path, environment: Mapping[str, str] | None = None) -> MilvusAddress:
    """The address in `spec` (a Path has lost one of its slashes); `environment` is the process's by default.

    Raises:
        InputError: not an address of a kind that is known, or one without a usable host, port or name.
    """
    known = os.environ if environment is None else environment
    # A part of a broken address may be a password, so no message shows it.
    scheme, _, rest = str(spec).partition(":")
    if scheme.lower() not in SCHEMES:
        raise InputError(f"unknown kind of gallery {scheme}: give a file, or {EXAMPLE}")
    parts = urlsplit(f"//{rest.lstrip('/')}")
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        raise InputError(f"--gallery has no usable host and port: give {EXAMPLE}") from None
    path = [part for part in parts.path.split("/") if part]
    if not host or not 1 <= len(path) <= 2 or not all(NAME.fullmatch(part) for part in path) or parts.query:
        raise InputError(
            f"--gallery is not a gallery's address: give {EXAMPLE}, with a name of letters, digits and underscores"
        )
    token = known.get(TOKEN, "")
    if parts.username is not None:
        token = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    ca = known.get(CA, "")
    if ca and not Path(ca).is_file():
        raise InputError(f"{CA} is {ca}: no such file: give a certificate in PEM")
    tls = scheme.lower() == SCHEMES[True]
    return MilvusAddress(
        host, path[-1], port, path[0] if len(path) == 2 else "", tls, token, Path(ca) if ca and tls else None
    )
