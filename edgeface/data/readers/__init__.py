"""Readers of face data sets as published, one file a layout."""

from edgeface.data.readers.detect import FORMATS, open_reader
from edgeface.data.readers.types import FaceSet, Format, Sample, Skipped

__all__ = ["FORMATS", "FaceSet", "Format", "Sample", "Skipped", "open_reader"]
