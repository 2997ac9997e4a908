"""A bundle and a gallery as one object, for programs: the faces of a picture, and who they are, in three lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.picture import Picture
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.results import Enrolment, FaceResult, ImageResult, Verification

if TYPE_CHECKING:
    from edgeface_runtime.gallery_key import GalleryKey

__all__ = ["FaceRecognizer"]


class FaceRecognizer(Closing):
    """A bundle, loaded, and a gallery of its model. A context manager, safe to share between threads.

    A picture is a path, the bytes of a file, or (H, W, 3) uint8 BGR pixels.

    Args:
        bundle: a bundle's folder or `.tar`, run by ONNX Runtime on the CPU; or a `Recognizer`, which says what runs
            it and is closed with this object.
        gallery: a file, or `milvus://host:19530/name`; or an open gallery, closed with this object. None: faces are
            found and embedded, and nobody is known.
        create: make the gallery if it is missing.
        cache: file of a copy of a gallery on a server, see `open_gallery`.
        key: opens or makes an encrypted gallery.
        threshold: cosine from which a candidate is a match; None takes the bundle's.

    Raises:
        InputError, ArtefactError, DeviceError, MissingExtraError: see `Recognizer.from_bundle` and `open_gallery`.
    """

    def __init__(
        self,
        bundle: str | Path | Recognizer,
        gallery: str | Path | GalleryLike | None = None,
        *,
        create: bool = False,
        cache: str | Path | None = None,
        key: GalleryKey | None = None,
        threshold: float | None = None,
    ) -> None:
        self.recognizer = bundle if isinstance(bundle, Recognizer) else Recognizer.from_bundle(bundle)
        self.threshold = threshold
        self._gallery: GalleryLike | None = None
        try:
            if threshold is not None:
                self.recognizer.threshold(threshold)  # refused here, not with the first picture
            if isinstance(gallery, str | Path):
                self._gallery = self.recognizer.open_gallery(gallery, create, cache=cache, key=key)
            else:
                self._gallery = gallery
        except BaseException:
            self.recognizer.close()
            raise

    @property
    def gallery(self) -> GalleryLike:
        """The gallery: `people`, `delete`, `count` and more.

        Raises:
            InputError: opened without one.
        """
        if self._gallery is None:
            raise InputError("no gallery was opened: give FaceRecognizer one as its second argument")
        return self._gallery

    def close(self) -> None:
        """Close gallery and recogniser. Closing twice does nothing; what other threads have begun may fail."""
        if self._gallery is not None:
            self._gallery.close()
        self.recognizer.close()

    def faces(self, image: Picture) -> list[FaceResult]:
        """Every face of a picture, the most prominent first, with its name where it is matched.

        Raises:
            ImageError: the picture cannot be read.
            InputError: no threshold is known, or this object is closed.
        """
        if self._gallery is None:
            return self.recognizer.analyse(image)
        result = self.identify(image)
        if result.status == "unreadable":
            raise ImageError(result.message)
        return list(result.faces)

    def identify(self, image: Picture, top: int = 5) -> ImageResult:
        """As `faces`, with everything that is known of the picture; one that cannot be read is an outcome, no error.

        Raises as `Recognizer.identify`.
        """
        return self.recognizer.identify(image, self.gallery, top, self.threshold)

    def enroll(
        self,
        name: str,
        *images: Picture,
        largest: bool = False,
        accept_poor: bool = False,
        allow_duplicate: bool = False,
    ) -> Enrolment:
        """Add one template a picture to the gallery, all or none; `largest`: of several faces the most prominent.

        Raises as `Recognizer.enroll`.
        """
        return self.recognizer.enroll(
            self.gallery, name, images, largest, accept_poor=accept_poor, allow_duplicate=allow_duplicate
        )

    def verify(self, a: Picture, b: Picture, *, largest: bool = False) -> Verification:
        """Whether two pictures show one person; needs no gallery. Raises as `Recognizer.verify`."""
        return self.recognizer.verify(a, b, self.threshold, largest=largest)
