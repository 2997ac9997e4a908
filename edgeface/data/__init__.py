"""Data sets: identity folders, occlusion on the fly, procedural faces, alignment of photographs.

Only what needs no torch is named here; `edgeface.data.dataset` and `.sampler` feed the training loop.
"""

from __future__ import annotations

from edgeface.data.folders import FaceFolder, Skipped, scan
from edgeface.data.synthetic import synth_face, write_synthetic

__all__ = ["FaceFolder", "Skipped", "scan", "synth_face", "write_synthetic"]
