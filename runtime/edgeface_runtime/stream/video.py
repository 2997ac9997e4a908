"""Writing an annotated stream as a video: whole under its name, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import atomic_path, part_folder
from edgeface_runtime.picture import Pixels

__all__ = ["CODECS", "Video", "save_video"]

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""What each kind of file is written with."""
RESERVE_BYTES = 16 << 20
"""Room that is left on the disk: a file is ended with it, one on a full disk is lost as a whole."""
INDEX_BYTES = 32
"""What a picture takes of it at most, when the file is ended."""
LONGEST_GAP_S = 1.0
"""A pause of the source is shown for as long at most."""


class Video:
    """A video being written; see `save_video`."""

    def __init__(self, path: Path) -> None:
        self.pictures = 0
        """Pictures in the file."""
        self.saved = False
        """Whether the file is there under its own name."""
        self.full = False
        """Whether it was ended early, for want of room."""
        self._path = path
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._start_s = 0.0

    def write(self, image: Pixels, at_s: float, rate: float | None) -> None:
        """Add a picture, repeated or left out so that the video keeps the time; none once the disk is nearly full.

        Args:
            image: (H, W, 3) uint8 BGR; of another size than the first it is fitted into that.
            at_s: when it was taken, seconds.
            rate: pictures a second of the video, the same in every call; None: unrelated pictures, one a second.

        Raises:
            InputError: this OpenCV cannot write such a file.
        """
        self.full = self.full or _free_bytes(self._path.parent) < RESERVE_BYTES + INDEX_BYTES * self.pictures
        if self.full:
            return
        fps = rate or 1.0
        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            self._start_s = at_s
            self._writer = cv2.VideoWriter(
                str(self._path), cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()]), fps, self._size
            )
            if not self._writer.isOpened():
                raise InputError(
                    f"this OpenCV cannot write {self._path.suffix}: save as .avi, or install opencv-python"
                )
        due = 1
        if rate is not None:
            shown_s = self.pictures / fps
            self._start_s = max(self._start_s, at_s - shown_s - LONGEST_GAP_S)
            due = round((at_s - self._start_s) * fps) + 1 - self.pictures
        for _ in range(due):
            self._writer.write(_fitted(image, self._size))
            self.pictures += 1

    def finish(self) -> None:
        """End the file.

        Raises:
            InputError: not all of it is there, as on a full disk.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.release()
        # OpenCV does not say that a write failed.
        written = cv2.VideoCapture(str(self._path))
        there = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if there < self.pictures:
            raise InputError(
                f"the video could not be written whole ({there} of {self.pictures} pictures): is there room?"
            )


@contextmanager
def save_video(path: Path) -> Iterator[Video]:
    """Yield a video to write to. At the end, also one by an error or a signal, what was written gets the name `path`;
    nothing does when no picture was. Where the disk fills up, the video ends before it is full.

    Raises:
        InputError: no .mp4 or .avi, the folder cannot be written to, or the disk is full.
    """
    if path.suffix.lower() not in CODECS:
        raise InputError(f"--save {path}: give a name that ends in {' or '.join(CODECS)}")
    with part_folder(path) as work:
        if _free_bytes(work) < RESERVE_BYTES:
            raise InputError(
                f"cannot write {path}: less than {RESERVE_BYTES >> 20} MiB are free there: make room, "
                "or choose another --save"
            )
        video = Video(work / f"video{path.suffix.lower()}")
        try:
            yield video
        finally:
            video.finish()
            if video.pictures:
                with atomic_path(path) as temporary:
                    (work / f"video{path.suffix.lower()}").replace(temporary)
                video.saved = True


def _free_bytes(folder: Path) -> int:
    there = os.statvfs(folder)
    return there.f_bavail * there.f_frsize


def _fitted(image: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture in the middle of another size (width, height), black around it."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    small = cv2.resize(image, (max(1, int(width * scale)), max(1, int(height * scale))), interpolation=cv2.INTER_AREA)
    canvas: Pixels = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - small.shape[0]) // 2, (size[0] - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas
