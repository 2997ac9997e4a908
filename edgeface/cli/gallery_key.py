"""The flags that say how an encrypted gallery is opened, for every command with --gallery.

No secret is ever on the command line, where other users and logs see it.
"""

from __future__ import annotations

import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.output import Output
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface_runtime.gallery_key import GalleryKey

__all__ = ["KeyEnv", "KeyFile", "KeyFlags", "Passphrase", "PassphraseFile", "gallery_key"]

PANEL = "Encrypted galleries"
KeyFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File of the key, as gallery keygen makes it.", rich_help_panel=PANEL),
]
KeyEnv = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Environment variable with the key; without any of these flags EDGEFACE_GALLERY_KEY, if it is set.",
        rich_help_panel=PANEL,
    ),
]
Passphrase = Annotated[
    bool,
    typer.Option(
        "--passphrase",
        help="Ask for the passphrase; without any of these flags EDGEFACE_GALLERY_PASSPHRASE, if it is set.",
        rich_help_panel=PANEL,
    ),
]
PassphraseFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with the passphrase.", rich_help_panel=PANEL)
]


@dataclass(frozen=True)
class KeyFlags:
    """What was given of the four flags."""

    file: Path | None = None
    env: str | None = None
    passphrase: bool = False
    passphrase_file: Path | None = None
    new: bool = False
    """Whether they are the flags of the new key: their names begin with --new-."""

    def given(self) -> list[str]:
        """Names of the flags that were given."""
        dashes = "--new-" if self.new else "--"
        values = {
            "key-file": self.file is not None,
            "key-env": self.env is not None,
            "passphrase": self.passphrase,
            "passphrase-file": self.passphrase_file is not None,
        }
        return [dashes + name for name, there in values.items() if there]


def gallery_key(flags: KeyFlags, output: Output, fresh: bool = False) -> GalleryKey | None:
    """The key that the flags, else the environment say; None where neither does.

    Args:
        flags: as given.
        output: for a word on a key file that others can read.
        fresh: whether something is to be encrypted by it: a passphrase is asked for twice and must not be short.

    Raises:
        InputError: several flags, a key that cannot be read, or nobody to ask for the passphrase.
    """
    import os

    from edgeface_runtime.gallery_key import GalleryKey, key_from_environment

    given = flags.given()
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are both given: give one")
    key: GalleryKey | None
    if flags.file is not None:
        key = GalleryKey.from_file(flags.file)
        _readable_by_others(flags.file, output)
    elif flags.env is not None:
        if flags.env not in os.environ:
            raise InputError(f"{given[0]}: there is no environment variable {flags.env}")
        key = GalleryKey.from_text(os.environ[flags.env], f"environment variable {flags.env}")
    elif flags.passphrase_file is not None:
        key = GalleryKey.from_passphrase_file(flags.passphrase_file)
        _readable_by_others(flags.passphrase_file, output)
    elif flags.passphrase:
        key = GalleryKey.from_passphrase(_ask(given[0], fresh, flags.new))
    elif flags.new:
        key = None
    else:
        key = key_from_environment()
    return key if key is None or not fresh else key.for_encrypting()


def _ask(flag: str, fresh: bool, new: bool) -> str:
    import getpass

    if not sys.stdin.isatty():
        raise InputError(f"{flag} asks for the passphrase, and there is no terminal: use {flag}-file")
    word = "New passphrase" if new else "Passphrase"
    try:
        text = getpass.getpass(f"{word} of the gallery: ")
        if fresh and getpass.getpass("The same again: ") != text:
            raise InputError("the two passphrases differ: try again")
    except EOFError as exc:
        raise InputError("no passphrase was given") from exc
    if not text:
        raise InputError("no passphrase was given")
    return text


def _readable_by_others(path: Path, output: Output) -> None:
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        output.note(f"note: others can read {path}: chmod 600 {path}")
