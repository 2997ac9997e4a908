"""edgeface gallery list, delete, keygen, rekey; looking after one is gallery_care.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli import gallery_care
from edgeface.cli.galleries import Cache, GalleryPlace, say_stale
from edgeface.cli.gallery_key import KeyEnv, KeyFile, KeyFlags, Passphrase, PassphraseFile, gallery_key
from edgeface.cli.gallery_rekey import NewKeyEnv, NewKeyFile, NewPassphrase, NewPassphraseFile, new_key, rekeyed
from edgeface.cli.gallery_rekey import register as register_rekey
from edgeface.cli.output import Json, Output, Quiet

__all__ = ["app"]

app = typer.Typer(help="Who is enrolled, removing them, looking after the file; encryption.", no_args_is_help=True)


@app.command("list")
def list_people(
    gallery: GalleryPlace,
    cache: Cache = None,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the people of a gallery."""
    from edgeface_runtime.gallery import Gallery
    from edgeface_runtime.gallery_open import open_gallery

    output = Output(json, quiet)
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output)
    with open_gallery(gallery, cache=cache, key=key) as store:
        people = store.people()
        say_stale(store.source())
        if isinstance(store, Gallery) and store.erasure_pending is not None:
            output.note(f"erasure pending: {store.erasure_pending}")
    output.data([person.to_dict() for person in people])
    output.table(store.place, ("name", "templates"), [(person.name, person.templates) for person in people])


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom to delete.")],
    gallery: GalleryPlace,
    cache: Cache = None,
    rekey: Annotated[
        bool,
        typer.Option(
            "--rekey",
            help="Change the gallery's key as well, so that no remains on the disk can be read without the old one.",
        ),
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
    """Delete a person's templates and erase them from the disk. Exit code 1 while the erasure is pending.

    On a server it always is: nobody sees its disks from here.
    """
    from edgeface_runtime.gallery_open import as_file, open_gallery

    output = Output(json, quiet)
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output)
    new = new_key(KeyFlags(new_key_file, new_key_env, new_passphrase, new_passphrase_file, True), output, rekey)
    with open_gallery(gallery, cache=cache, key=key) as store:
        own = as_file(store, "--rekey changes the key of a gallery file") if new is not None else None
        if own is not None and new is not None:
            own.check_new_key(new)
        erasure = store.delete(name)
        changed = None if own is None or new is None else own.rekey(new)
    data = erasure.to_dict()
    pending = erasure.pending if changed is None else changed.pending
    if changed is not None:
        data |= {"erased": changed.erased, "pending": pending, "rekeyed": changed.to_dict()}
    output.data(data)
    state = "erased" if pending is None else f"erasure pending: {pending}"
    output.line(f"{erasure.name}: {erasure.removed} template{'s' * (erasure.removed != 1)} deleted, {state}")
    if changed is not None:
        rekeyed(output, Path(gallery), changed)
    if pending is not None:
        raise typer.Exit(1)


gallery_care.register(app)
register_rekey(app)
