"""Where a command begins: errors become one line and an exit code, and what a device starts often starts quickly.

Building the commands of the whole house takes longer than many a command itself, so those in DEVICE are built alone.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from typing import Annotated

import typer

from edgeface import __version__
from edgeface.cli.output import printable
from edgeface_runtime.errors import EXTRAS, EdgefaceError, InputError, MissingExtraError

__all__ = ["DEVICE", "new_app", "run"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DEVICE = {"enroll": "device", "identify": "device", "verify": "device", "stream": "stream"}
"""First word of a command -> the module that has it."""


def new_app() -> typer.Typer:
    """The `edgeface` command, as yet without commands of its own."""
    app = typer.Typer(
        name="edgeface",
        help="Train, prune, export and run recognition of partly covered faces.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(main)
    return app


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, prune, export and run recognition of partly covered faces."""


def _app() -> typer.Typer:
    """What the command line asks for: one device's commands, or everything."""
    module = DEVICE.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if module is None:
        app: typer.Typer = importlib.import_module("edgeface.cli.main").app
        return app
    app = new_app()
    importlib.import_module(f"edgeface.cli.{module}").register(app)
    return app


def run() -> None:
    """Entry point: an error raised on purpose becomes one line on stderr and its exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of a damaged picture, we say in one line
    _listen_to_sigterm()
    try:
        if sys.stdout is None:  # closed by the caller: there is nowhere to put a result
            raise InputError("standard output is closed")
        _app()()
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
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends two: the second must not stop the keeping
        raise KeyboardInterrupt(number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)
        if hasattr(os, "register_at_fork"):  # a pool ends its workers with SIGTERM: no stop of the user's
            os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def _fail(error: EdgefaceError) -> None:
    sys.stderr.write("edgeface: " + printable(" ".join(str(error).split())) + "\n")
    sys.exit(error.exit_code)
