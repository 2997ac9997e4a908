"""edgeface stream: recognition of a camera, a video, an address or a folder, until it ends or is stopped."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.device import (
    AllowCpu,
    Backend,
    Bundle,
    Device,
    Limit,
    MinFace,
    Precision,
    Threads,
    open_recognizer,
)
from edgeface.cli.engine import NoBuild, Signed
from edgeface.cli.galleries import Cache, GalleryPlace
from edgeface.cli.gallery_key import KeyEnv, KeyFile, KeyFlags, Passphrase, PassphraseFile, gallery_key
from edgeface.cli.output import Json, Output, Quiet, printable

if TYPE_CHECKING:
    from edgeface_runtime.serve import LivePage
    from edgeface_runtime.stream import Event, Stream, StreamSummary
    from edgeface_runtime.stream.video import Video
    from edgeface_runtime.stream.window import Window

__all__ = ["register"]

ABOUT_PEOPLE = ("came", "changed", "went")
FULL = "the disk is nearly full: the video ends after {pictures} pictures"
READER_WAIT_S = 1.0
"""How long the summary waits for a reader of stdout that has stopped reading, seconds."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(stream)


def stream(
    bundle: Bundle,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Camera (0, /dev/video0), video file, rtsp:// or http:// address, GStreamer pipeline, or folder.",
        ),
    ],
    gallery: GalleryPlace,
    cache: Cache = None,
    key_file: KeyFile = None,
    key_env: KeyEnv = None,
    passphrase: Passphrase = False,
    passphrase_file: PassphraseFile = None,
    threshold: Limit = None,
    detect_every: Annotated[int, typer.Option(help="Pictures from one detection to the next.")] = 5,
    refresh: Annotated[
        float, typer.Option(help="Seconds after which a face that is still there is embedded again.")
    ] = 10.0,
    min_face: MinFace = 40,
    roi: Annotated[
        str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="Look for faces in this part only, pixels.")
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="A video file at its own rate, dropping what comes too late.")
    ] = False,
    max_frames: Annotated[int | None, typer.Option(help="Pictures after which to end.")] = None,
    give_up: Annotated[
        float | None,
        typer.Option(help="Seconds after which a live source that went away is an error; default: never."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the annotated video (.mp4 or .avi).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a video that is there.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show it in a window; q ends it.")] = False,
    serve: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Show it in browsers, such as at 127.0.0.1:8080.")
    ] = None,
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
    """Recognise the faces of a stream; says who comes and goes, and with --json one line a picture with faces."""
    from edgeface.cli.progress import bar
    from edgeface_runtime.stream import Stream, StreamSettings
    from edgeface_runtime.stream.window import Window

    output = Output(json, quiet)
    key = gallery_key(KeyFlags(key_file, key_env, passphrase, passphrase_file), output)
    part = None if roi is None else _part(roi)
    settings = StreamSettings(threshold, detect_every, refresh, part, realtime, max_frames, give_up)
    if save is not None:
        _claim(save, force, source)
    with contextlib.ExitStack() as held:
        page = None if serve is None else held.enter_context(_page(output, serve))
        recognizer = held.enter_context(
            open_recognizer(
                output, bundle, backend, precision, device, threads, min_face, allow_cpu, no_build, require_signature
            )
        )
        people = held.enter_context(recognizer.open_gallery(gallery, cache=cache, key=key))
        with bar("index", quiet) as progress:
            index = people.prepare(progress)
        if index["note"]:
            output.note(f"note: {index['note']}")
        video = None if save is None else held.enter_context(_saving(output, save))
        window = held.enter_context(Window()) if show else None
        running = held.enter_context(
            Stream(
                recognizer,
                source,
                people,
                settings,
                on_event=lambda event: _tell(output, event, running.rate is None),
                publisher=page,
            )
        )
        try:
            _follow(output, running, video, window)
        except BrokenPipeError:  # the reader, such as head, has gone: not an error
            _forget_stdout()
        finally:
            running.close()
            _finish(output, running.summary())


def _page(output: Output, address: str) -> LivePage:
    """A page that shows the stream; its address with the token is said once."""
    from edgeface_runtime.serve import LivePage, parse_address

    page = LivePage(*parse_address(address))
    if page.warning:
        output.note(f"warning: {page.warning}")
    sys.stderr.write(f"watch it at {page.url}\n")  # even when quiet: nobody could know the token
    return page


@contextlib.contextmanager
def _saving(output: Output, save: Path) -> Iterator[Video]:
    """`save_video`, and a word of what was written, also after a signal.

    Raises:
        InputError: the stream has ended, and the video before it.
    """
    from edgeface_runtime.errors import InputError
    from edgeface_runtime.stream.video import save_video

    video = None
    try:
        with save_video(save) as video:
            yield video
    finally:
        if video is not None and video.saved:
            output.wrote(save)
    if video.full:
        raise InputError(f"--save {save}: {FULL.format(pictures=video.pictures)}: make room")


def _part(text: str) -> tuple[int, int, int, int]:
    from edgeface.cli.parse import integers
    from edgeface_runtime.errors import InputError

    numbers = integers(text, "--roi")
    if len(numbers) != 4:
        raise InputError(f"--roi takes left, top, right, bottom, in pixels, got {text!r}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _claim(save: Path, force: bool, source: str) -> None:
    from edgeface.cli.claim import claim_file
    from edgeface_runtime.errors import InputError
    from edgeface_runtime.stream.video import CODECS

    if save.suffix.lower() not in CODECS:
        raise InputError(f"--save {save}: give a name that ends in {' or '.join(CODECS)}")
    claim_file(save, "video", lambda path: True, force, "--save")
    if save.exists() and Path(source).exists() and save.samefile(source):
        raise InputError(f"--save {save} is the video that is read: choose another name")


def _follow(output: Output, running: Stream, video: Video | None, window: Window | None) -> None:
    """Print, save and show every result as it comes."""
    for result in running:
        if result.faces:
            output.record({"type": "frame", **result.to_dict()})
        if video is None and window is None:
            continue
        drawn = result.draw()
        if video is not None and not video.full:
            video.write(drawn, result.frame.at_s, running.rate)
            if video.full:  # said even when quiet
                sys.stderr.write(f"warning: {FULL.format(pictures=video.pictures)}; the stream goes on\n")
        if window is not None and not window.show(drawn):
            return


def _tell(output: Output, event: Event, unrelated: bool) -> None:
    """Who came and went is a result; what became of the source is for stderr, too."""
    output.record({"type": "event", **event.to_dict()})
    if event.kind in ABOUT_PEOPLE:
        where = event.source if unrelated else f"{event.at_s or 0:8.1f} s"
        output.line(f"{where}  {event.message}")
        sys.stdout.flush()
    elif event.kind == "stale":
        sys.stderr.write(printable(event.message) + "\n")  # even when quiet
    else:
        output.note(event.message)


def _finish(output: Output, summary: StreamSummary) -> None:
    """Print the summary, unless no picture came through or nobody reads it."""
    if not summary.handled:
        return
    if not _is_read():
        sys.stderr.write("nobody reads the output any more: the summary is left out\n")
        _forget_stdout()
        return
    output.record({"type": "summary", **summary.to_dict()})
    output.line(
        f"{summary.handled} pictures in {summary.elapsed_s:.1f} s: {summary.fps:.1f} a second, "
        f"{summary.dropped} dropped"
    )
    output.line(
        f"{summary.faces} faces on {summary.tracks} tracks: {summary.embeddings} embeddings made, "
        f"{summary.saved} saved by tracking, {summary.detections} pictures searched"
    )
    if summary.unreadable or summary.interruptions:
        output.line(f"not readable: {summary.unreadable}; times that the source went away: {summary.interruptions}")
    output.line(f"peak memory {summary.peak_memory_bytes / 1e6:.0f} MB")
    rows = [
        (stage, times.runs, f"{times.p50_ms:.2f}", f"{times.p99_ms:.2f}", f"{times.mean_ms:.2f}")
        for stage, times in summary.stages.items()
    ]
    output.table("milliseconds a picture", ("stage", "pictures", "p50", "p99", "mean"), rows)


def _forget_stdout() -> None:
    """What is still to be written goes nowhere: it must not wait, or fail, at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_read() -> bool:
    """Whether stdout takes more: a pipe whose reader has stopped would keep the command from ending."""
    try:
        sys.stdout.fileno()
    except (io.UnsupportedOperation, ValueError):
        return True
    return bool(select.select([], [sys.stdout], [], READER_WAIT_S)[1])
