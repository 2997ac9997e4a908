"""edgeface bundle keygen, sign, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]

Target = Annotated[
    Path, typer.Argument(metavar="BUNDLE|ENGINE", help="Bundle folder or .tar, or an engine (.engine).")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(keygen)
    app.command()(sign)
    app.command()(verify)


def keygen(
    out: Annotated[Path, typer.Option(help="Folder for the two keys.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a pair of keys: the private one signs and is kept secret, the public one goes on devices."""
    from edgeface_export.sign import make_keys

    output = Output(json, quiet)
    made = make_keys(out)
    output.data({"private": str(made.private), "public": str(made.public), "key": made.key})
    output.line(f"private key {made.private}: keep it secret and off devices; whoever has it signs in your name")
    output.line(f"public key {made.public} ({made.key[:12]}): give it to devices, as --require-signature")


def sign(
    target: Target,
    key: Annotated[Path, typer.Option(help="Private key (PEM), as keygen makes it.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sign a bundle or an engine, after it was checked; an earlier signature is replaced."""
    from edgeface_export.sign import sign_bundle, sign_engine

    output = Output(json, quiet)
    signed = sign_engine(target, key) if target.suffix == ".engine" else sign_bundle(target, key)
    output.wrote(signed.signature)
    output.data({"target": str(signed.target), "signature": str(signed.signature), "key": signed.key})
    output.line(f"{signed.target}: signed by key {signed.key[:12]}")


def verify(
    target: Target,
    key: Annotated[Path, typer.Option(help="Public key (PEM) of who should have signed it.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check every file of a bundle, or an engine, and its signature. Exit code 2 unless the key signed just that."""
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.engine_check import whole_engine
    from edgeface_runtime.signature import check_bundle_signature, fingerprint, load_public_key

    output = Output(json, quiet)
    found = fingerprint(load_public_key(key))
    if target.suffix == ".engine":
        whole_engine(target, key=key)
    else:
        check_bundle_signature(open_bundle(target, full=True), key)
    output.data({"target": str(target), "key": found})
    output.line(f"{target}: signed by key {found[:12]}, nothing altered")
