"""edgeface gallery keygen, rekey."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.gallery_key import KeyEnv, KeyFile, KeyFlags, Passphrase, PassphraseFile, gallery_key
from edgeface.cli.output import Json, Output, Quiet, counted
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface_runtime.gallery_key import GalleryKey
    from edgeface_runtime.gallery_rekey import Rekeyed

__all__ = ["NewKeyEnv", "NewKeyFile", "NewPassphrase", "NewPassphraseFile", "new_key", "register", "rekeyed"]

PANEL = "The new key"
NewKeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="File of the new key.", rich_help_panel=PANEL)]
NewKeyEnv = Annotated[
    str | None, typer.Option(metavar="NAME", help="Environment variable with the new key.", rich_help_panel=PANEL)
]
NewPassphrase = Annotated[
    bool, typer.Option("--new-passphrase", help="Ask for the new passphrase.", rich_help_panel=PANEL)
]
NewPassphraseFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with the new passphrase.", rich_help_panel=PANEL)
]
ONE_OF = "--new-key-file, --new-key-env, --new-passphrase or --new-passphrase-file"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(keygen)
    app.command()(rekey)


def new_key(flags: KeyFlags, output: Output, wanted: bool) -> GalleryKey | None:
    """The new key, where one is wanted.

    Raises:
        InputError: it is wanted and not given, or the other way round.
    """
    if not wanted:
        if flags.given():
            raise InputError(f"{flags.given()[0]} is the new key of a rekey: give --rekey too, or leave it out")
        return None
    key = gallery_key(flags, output, fresh=True)
    if key is None:
        raise InputError(f"which new key? give {ONE_OF}")
    return key


def rekeyed(output: Output, gallery: Path, changed: Rekeyed) -> None:
    """Say what became of the key."""
    what = "encrypted by the new key" if changed.encrypted else "not encrypted any more"
    output.line(f"{gallery}: {counted(changed.people, 'person', 'people')}, {what}")
    if changed.encrypted:
        output.note("copies of the file made before, backups too, are as they were: destroy them, or the old key")


def keygen(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a random key for galleries, in a new file that only you may read."""
    from edgeface_runtime.gallery_key import make_key_file

    output = Output(json, quiet)
    make_key_file(file)
    output.data({"key_file": str(file)})
    output.line(f"key {file}: without it nobody can read the gallery, you neither: keep a copy in a safe place")


def rekey(
    gallery: Annotated[Path, typer.Option("--gallery", help="Gallery file (.db).")],
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Encrypt a gallery that is not, by the key given.")
    ] = False,
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="Write the gallery plain; the key given opens it.")
    ] = False,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    new_key_file: NewKeyFile = None,
    new_key_env: NewKeyEnv = None,
    new_passphrase: NewPassphrase = False,
    new_passphrase_file: NewPassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Change an encrypted gallery's key, all or nothing. Exit code 1 while the old key's traces cannot be erased."""
    from edgeface.cli.progress import bar
    from edgeface_runtime.gallery import Gallery
    from edgeface_runtime.gallery_encryption import encryption_of

    output = Output(json, quiet)
    if encrypt and decrypt:
        raise InputError("--encrypt and --decrypt are both given: give one")
    flags = KeyFlags(new_key_file, new_key_env, new_passphrase, new_passphrase_file, True)
    if (encrypt or decrypt) and flags.given():
        raise InputError(f"{flags.given()[0]} changes a key: leave it out with --{'en' if encrypt else 'de'}crypt")
    is_encrypted = encryption_of(gallery) is not None
    if encrypt and is_encrypted:
        raise InputError(f"gallery {gallery} is encrypted already: leave out --encrypt and give a new key")
    if not encrypt and not is_encrypted:
        raise InputError(f"gallery {gallery} is not encrypted: encrypt it with --encrypt")
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output, fresh=encrypt)
    if encrypt and key is None:
        raise InputError("which key? give --key-file, --key-env, --passphrase or --passphrase-file")
    new = key if encrypt else new_key(flags, output, not decrypt)
    with Gallery(gallery, key=None if encrypt else key) as store, bar("rows", quiet) as show:
        changed = store.rekey(new, show)
    output.wrote(gallery, new=False)
    output.data(changed.to_dict())
    rekeyed(output, gallery, changed)
    if not changed.erased:
        output.note(f"erasure pending: {changed.pending}")
        raise typer.Exit(1)
