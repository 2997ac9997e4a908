"""A folder of pictures as a stream: sorted by name, each on its own."""

from __future__ import annotations

from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.image import list_images, read_image
from edgeface_runtime.picture import Pixels

__all__ = ["Folder"]


class Folder:
    """The pictures of a folder; see `source.Source`. They are taken as unrelated: no face is tracked through them."""

    live = False
    related = False
    fps: float | None = None

    def __init__(self, path: Path) -> None:
        self.name = self.label = str(path)
        self.expected: int | None = None
        self._path = path
        self._left: list[Path] = []

    def open(self) -> None:
        """See `Source.open`."""
        self._left = list_images(self._path)[::-1]
        self.expected = len(self._left)
        if not self._left:
            raise InputError(f"{self._path} holds no pictures (JPEG, PNG, BMP or WebP)")

    def read(self) -> Pixels | None:
        """See `Source.read`."""
        if not self._left:
            return None
        path = self._left.pop()
        self.label = str(path)
        return read_image(path)

    def close(self) -> None:
        """See `Source.close`."""
        self._left = []
