"""edgeface gallery check, repair, backup, restore, export, import, migrate: looking after a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Protocol

import typer

from edgeface.cli.device import AllowCpu, Backend, Device, Precision, Threads
from edgeface.cli.engine import NoBuild, Signed, builder
from edgeface.cli.gallery_key import KeyEnv, KeyFile, KeyFlags, Passphrase, PassphraseFile, gallery_key
from edgeface.cli.output import Json, Output, Quiet, counted

__all__ = ["register"]

MOST = 20
"""Rows and people listed; `--json` has all."""
GalleryFile = Annotated[Path, typer.Option("--gallery", help="Gallery file (.db).")]


class _Some(Protocol):
    @property
    def templates(self) -> int: ...
    @property
    def people(self) -> int: ...


def _whose(some: _Some) -> str:
    return f"{counted(some.templates, 'template')} of {counted(some.people, 'person', 'people')}"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(check)
    app.command()(repair)
    app.command()(backup)
    app.command()(restore)
    app.command()(export)
    app.command("import")(import_)
    app.command()(migrate)


def check(gallery: GalleryFile, json: Json = False, quiet: Quiet = False) -> None:
    """Look for damage in a gallery or a backup of one, and say what to do. Exit code 1 when there is any."""
    from edgeface_runtime.gallery_check import check as look

    output = Output(json, quiet)
    report = look(gallery)
    output.data(report.to_dict())
    output.line(str(gallery))
    for one in report.findings:
        output.line(f"  {one.state:<8} {one.what:<16} {one.detail}")
    output.line(("sound: " if report.sound else "damaged: ") + report.advice)
    if not report.sound:
        raise typer.Exit(1)


def repair(
    gallery: GalleryFile,
    out: Annotated[Path | None, typer.Option(help="The new gallery; default: GALLERY.repaired.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Put it in the gallery's place; the damaged file becomes .damaged-N.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Save what is whole in a damaged gallery into a new one. Exit code 1 when templates were lost."""
    from edgeface_runtime.errors import InputError
    from edgeface_runtime.gallery_repair import repair as save

    output = Output(json, quiet)
    if in_place and out is not None:
        raise InputError("--out and --in-place both say where the new gallery goes: give one of them")
    target = None if in_place else out or gallery.with_name(gallery.name + ".repaired")
    done = save(gallery, target)
    output.data(done.to_dict())
    output.wrote(Path(done.path))
    output.note(f"the file as it was is {done.kept}: remove it when you no longer need it")
    if not done.verified:
        output.note("it is of version 1, whose rows have no checksums: small changes in templates cannot be told")
    if done.erased:
        output.note(f"left out: {counted(done.erased, 'template')} of people who were deleted")
    output.line(f"{_whose(done)} saved, {len(done.lost)} lost")
    for lost in done.lost[:MOST]:
        output.line(f"lost: row {lost.id}" + ("" if lost.name is None else f", {lost.name}"))
    if len(done.lost) > MOST:
        output.line(f"and {len(done.lost) - MOST} more: see --json")
    if done.lost:
        raise typer.Exit(1)


def backup(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The backup; an earlier one is replaced.")],
    gallery: GalleryFile,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy a gallery, which may be in use, into one file, and check the copy."""
    from edgeface_runtime.gallery_backup import backup as copy

    output = Output(json, quiet)
    manifest = copy(gallery, out)
    output.data(manifest.to_dict())
    output.wrote(out)
    output.line(f"{_whose(manifest)}, checked")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    gallery: GalleryFile,
    force: Annotated[bool, typer.Option("--force", help="Also a backup of another gallery.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put a backup in a gallery's place. Who was deleted since stays deleted; the old file is kept."""
    from edgeface_runtime.gallery_backup import restore as put_back

    output = Output(json, quiet)
    done = put_back(gallery, file, force)
    output.data(done.to_dict())
    output.wrote(gallery)
    if done.kept is not None:
        output.note(f"the gallery that was there is {done.kept}: remove it when you no longer need it")
    if done.unknown is not None:
        output.note(f"warning: {done.unknown}: delete again whom you have deleted since the backup")
    line = f"{_whose(done)} restored"
    output.line(line + (f", {done.erased_again} deleted again" if done.erased_again else ""))


def export(
    gallery: GalleryFile,
    out: Annotated[Path, typer.Option(metavar="FILE", help="people.npz or people.json.")],
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write names and templates as plain data."""
    from edgeface_runtime.gallery import Gallery
    from edgeface_runtime.gallery_exchange import export_people

    output = Output(json, quiet)
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output)
    with Gallery(gallery, key=key) as people:
        done = export_people(people, out)
    output.data(done.to_dict())
    output.wrote(out)
    output.note("it is not encrypted: whoever has it has the templates, and deleting somebody does not change it")
    output.line(f"{_whose(done)} exported")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="people.npz or people.json of `gallery export`.")],
    gallery: GalleryFile,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Make a new gallery encrypted, by the key given.")
    ] = False,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Enrol everybody of an exported file, all or nobody; a gallery that is missing is made."""
    from functools import partial

    from edgeface_runtime.errors import InputError
    from edgeface_runtime.gallery import Gallery
    from edgeface_runtime.gallery_exchange import import_people

    output = Output(json, quiet)
    flags = KeyFlags(key_file, key_env, passphrase, passphrase_file)
    is_new = not gallery.exists()
    key = gallery_key(flags, output, fresh=encrypt and is_new)
    if encrypt and key is None:
        raise InputError("--encrypt: which key? give --key-file, --key-env, --passphrase or --passphrase-file")
    if is_new and key is not None and not encrypt:
        raise InputError(f"{gallery} is a new gallery and there is a key for it: give --encrypt, or no key")
    done = import_people(gallery, file, partial(Gallery, key=key))
    output.data(done.to_dict())
    output.wrote(gallery, is_new)
    output.line(f"{_whose(done)} imported")


def migrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The new model's bundle.")],
    gallery: GalleryFile,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new gallery.")],
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the crops are, if they were moved.")
    ] = None,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    backend: Backend = "onnxruntime",
    device: Device = "auto",
    allow_cpu: AllowCpu = False,
    precision: Precision = "auto",
    threads: Threads = 0,
    no_build: NoBuild = False,
    require_signature: Signed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Enrol a gallery's people by another model, from the crops `enroll --keep-crops` kept.

    Exit code 1 when somebody could not be migrated.
    """
    from edgeface.cli.progress import bar
    from edgeface_runtime.gallery import Gallery
    from edgeface_runtime.gallery_migrate import migrate as enrol_anew
    from edgeface_runtime.recognizer import Recognizer

    output = Output(json, quiet)
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output)
    with (
        Gallery(gallery, key=key) as old,
        Recognizer.from_bundle(
            bundle,
            backend,
            precision,
            device,
            threads,
            allow_cpu=allow_cpu,
            builder=builder(output, no_build),
            require_signature=require_signature,
        ) as recognizer,
        bar("crops", quiet) as show,
    ):
        output.fell_back(recognizer.describe())
        done = enrol_anew(old, recognizer, out, crops, key, show)
    output.data(done.to_dict())
    output.wrote(out)
    output.line(f"{_whose(done)} migrated, {counted(len(done.left_out), 'template')} left out")
    for left in done.left_out[:MOST]:
        output.line(f"{left.name}: {left.why}")
    if done.missing:
        more = f" and {len(done.missing) - MOST} more: see --json" if len(done.missing) > MOST else ""
        output.line(f"not in the new gallery: {', '.join(done.missing[:MOST])}{more}")
        raise typer.Exit(1)
