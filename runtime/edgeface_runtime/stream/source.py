"""Where pictures come from: a camera, a video file, an address, a pipeline or a folder, by what the user wrote."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import cv2

from edgeface_runtime.errors import InputError
from edgeface_runtime.image import IMAGE_SUFFIXES
from edgeface_runtime.picture import Pixels
from edgeface_runtime.stream.capture import Capture
from edgeface_runtime.stream.folder import Folder

__all__ = ["Source", "open_source"]

SECRET = re.compile(
    r"([?&;][^=&;]*(?:user|usr|login|pass|pwd|pw|token|key|auth|secret|sig)[^=&;]*=)[^&;#]*", re.IGNORECASE
)
"""A value in an address that cameras and servers take for a password, user or signature."""


class Source(Protocol):
    """What a stream needs of a source. All but the attributes is called by one thread."""

    name: str
    """For people."""
    live: bool
    """It goes on whether it is read or not, and is opened again when it ends."""
    related: bool
    """Its pictures follow one another, so that faces can be tracked."""
    label: str
    """What the picture read last is of."""
    fps: float | None
    """Pictures a second of a file, once it is open; None where it has no rate."""
    expected: int | None
    """How many pictures a file says it has, once it is open; None where it does not."""

    def open(self) -> None:
        """Begin, again after `close`. Raises InputError or DeviceError in one line."""

    def read(self) -> Pixels | None:
        """The next picture, (H, W, 3) uint8 BGR; None at the end, or when a live source went away.

        Raises:
            ImageError: this picture cannot be read; the next may be.
        """

    def close(self) -> None:
        """Let go; closing twice does nothing."""


def open_source(source: str | int | Path) -> Source:
    """The source a user named; nothing is opened yet.

    Args:
        source: a camera's index or device (`0`, `/dev/video0`), an address (`rtsp://...`), a GStreamer pipeline (with
            `!` between its elements), a video file, or a folder of pictures.

    Raises:
        InputError: no such file or folder, a picture, or this OpenCV has no GStreamer.
    """
    text = str(source)
    if not text:
        raise InputError("the source is empty: give a camera's index, a video, an address or a folder")
    if re.fullmatch(r"\d+", text):
        return Capture(int(text), f"camera {text}", live=True)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return Capture(text, _without_password(text), live=True)
    path = Path(text)
    if "!" in text and not path.exists():
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise InputError(
                f"this OpenCV ({cv2.__version__}) has no GStreamer: use the OpenCV of the device's system, "
                "or give a camera's index, a file or an rtsp:// address"
            )
        return Capture(text, "the pipeline", live=True, api=cv2.CAP_GSTREAMER)
    if path.is_dir():
        return Folder(path)
    if not path.exists() and path.parent == Path("/dev"):  # a camera that is not there, or not yet
        return Capture(text, text, live=True)
    if not path.exists():
        raise InputError(f"source not found: {text}: give a camera's index, a video, an address or a folder")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{text} is a picture: use edgeface identify, or give its folder")
    return Capture(text, text, live=path.is_char_device())


def _without_password(address: str) -> str:
    """An address as it may be shown: user and password left out, also where they stand behind a `?`."""
    shown = re.sub(r"(?<=://)[^/?#]*@", "", address)
    shown = re.sub(r"(?<=://)[^/@:]*:(?!\d+(?:[/?#]|$))[^@]*@", "", shown)  # a password with a / in it
    return SECRET.sub(r"\1...", shown)
