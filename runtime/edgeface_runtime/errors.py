"""Every error edgeface raises on purpose, and the exit code the command line turns it into.

    EdgefaceError
    ├── InputError          2  bad input: a file, a flag, a data set
    │   ├── ImageError         an image that cannot be read
    │   ├── FaceError          an image without the one face that was asked for
    │   ├── ArtefactError      a checkpoint, bundle, engine or gallery that is damaged, foreign or too new
    │   └── MissingExtraError  a package that belongs to an extra is not installed
    ├── GateError           1  a measured value missed its gate
    └── DeviceError         3  no device, no driver, wrong device
        ├── EngineError        an engine that could not be built, loaded or run
        └── ServerError        a gallery's server that cannot be reached, or does not answer as it should

Messages are one line: what was wrong, then what to do.
"""

from __future__ import annotations

__all__ = [
    "EXTRAS",
    "ArtefactError",
    "DeviceError",
    "EdgefaceError",
    "EngineError",
    "FaceError",
    "GateError",
    "ImageError",
    "InputError",
    "MissingExtraError",
    "ServerError",
]


EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "onnx": "train",
    "onnxscript": "train",
    "onnxruntime": "cpu",
    "tensorrt": "tensorrt",
    "pycuda": "tensorrt",
    "tensorrt_rtx": "rtx",
    "matplotlib": "plot",
    "skimage": "demo",
    "cryptography": "sign",
    "pymilvus": "milvus",
}
"""Which extra brings a package."""


class EdgefaceError(Exception):
    """Base of all errors raised on purpose."""

    exit_code: int = 2


class InputError(EdgefaceError):
    """Bad input: a file, a flag or a data set."""


class ImageError(InputError):
    """An image that cannot be read."""


class FaceError(InputError):
    """An image without the face that was asked for."""


class ArtefactError(InputError):
    """A checkpoint, bundle, engine or gallery that is damaged, foreign or too new."""


class MissingExtraError(InputError):
    """A package that belongs to an extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'edgeface[{extra}]'")
        self.package = package
        self.extra = extra


class GateError(EdgefaceError):
    """A measured value missed its gate."""

    exit_code = 1


class DeviceError(EdgefaceError):
    """No device, no driver, or not the device that was asked for."""

    exit_code = 3


class EngineError(DeviceError):
    """An engine that could not be built, loaded or run."""


class ServerError(DeviceError):
    """A gallery's server that cannot be reached, or does not answer as it should."""
