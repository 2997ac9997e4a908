"""The `edgeface` command. Heavy packages are imported inside the commands that need them, so --help is fast."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Annotated

import typer

from edgeface import __version__
from edgeface.cli import (
    benchmark,
    build,
    bundle,
    calibrate,
    compare,
    convert,
    data,
    demo,
    device,
    doctor,
    evaluate,
    export,
    gallery,
    inspect,
    prune,
    reproduce,
    train,
)
from edgeface.cli.output import printable
from edgeface_runtime.errors import EXTRAS, EdgefaceError, InputError, MissingExtraError

__all__ = ["app", "run"]

app = typer.Typer(
    name="edgeface",
    help="Train, prune, export and run recognition of partly covered faces.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, prune, export and run recognition of partly covered faces."""


MODULES = (
    train,
    convert,
    prune,
    evaluate,
    export,
    build,
    inspect,
    compare,
    doctor,
    device,
    benchmark,
    demo,
    reproduce,
)
for module in MODULES:
    module.register(app)
app.add_typer(data.app, name="data")
app.add_typer(bundle.app, name="bundle")
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(gallery.app, name="gallery")


def run() -> None:
    """Entry point: an error raised on purpose becomes one line on stderr and its exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of a damaged picture, we say in one line
    _listen_to_sigterm()
    try:
        if sys.stdout is None:  # closed by the caller: there is nowhere to put a result
            raise InputError("standard output is closed")
        app()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has gone: not an error. Nothing more may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    except EdgefaceError as exc:
        _fail(exc)
    except ModuleNotFoundError as exc:
        package = (exc.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        _fail(MissingExtraError(package, EXTRAS[package]))
    except OSError as exc:
        # Of a rename that failed, the second name is the one the user gave.
        name = exc.filename2 or exc.filename or ("cannot write" if exc.errno in DISK_FULL else None)
        if name is None:
            raise
        _fail(InputError(f"{name}: {exc.strerror}"))
    except MemoryError as exc:
        _fail(InputError(f"not enough memory: {exc or 'use less at once'}"))


def _listen_to_sigterm() -> None:
    """SIGTERM (`kill`, `timeout`, a service manager) stops a command as Ctrl-C does: what can be kept is kept."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)
        if hasattr(os, "register_at_fork"):  # a pool ends its workers with SIGTERM: no stop of the user's
            os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _fail(error: EdgefaceError) -> None:
    sys.stderr.write("edgeface: " + printable(" ".join(str(error).split())) + "\n")
    sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
