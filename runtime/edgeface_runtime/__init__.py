"""What runs on the device: detect, align, infer, match. No torch, ever.

Importing this package loads none of its parts; each public name brings its module with it when it is first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeface_runtime.backends import open_backend
    from edgeface_runtime.bundle import Bundle, Manifest, open_bundle
    from edgeface_runtime.detect import Detector, Face
    from edgeface_runtime.face_recognizer import FaceRecognizer
    from edgeface_runtime.gallery import Candidate, Erasure, Gallery
    from edgeface_runtime.gallery_open import open_gallery
    from edgeface_runtime.image import read_image
    from edgeface_runtime.quality import Quality
    from edgeface_runtime.recognizer import Recognizer
    from edgeface_runtime.results import Embeddings, FaceResult, ImageResult, Verification
    from edgeface_runtime.stream import Stream, StreamResult, StreamSettings

__version__ = "0.1.0"

# ONNX Runtime (1.31, Linux) keeps a device id and reports what it does; a recogniser of faces talks to nobody.
# It looks for this when it is imported, which nothing here does before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "backends": ("open_backend",),
    "bundle": ("Bundle", "Manifest", "open_bundle"),
    "detect": ("Detector", "Face"),
    "face_recognizer": ("FaceRecognizer",),
    "gallery": ("Candidate", "Erasure", "Gallery"),
    "gallery_open": ("open_gallery",),
    "image": ("read_image",),
    "quality": ("Quality",),
    "recognizer": ("Recognizer",),
    "results": ("Embeddings", "FaceResult", "ImageResult", "Verification"),
    "stream": ("Stream", "StreamResult", "StreamSettings"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Bundle",
    "Candidate",
    "Detector",
    "Embeddings",
    "Erasure",
    "Face",
    "FaceRecognizer",
    "FaceResult",
    "Gallery",
    "ImageResult",
    "Manifest",
    "Quality",
    "Recognizer",
    "Stream",
    "StreamResult",
    "StreamSettings",
    "Verification",
    "__version__",
    "open_backend",
    "open_bundle",
    "open_gallery",
    "read_image",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
