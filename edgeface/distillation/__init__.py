"""Distillation: a network learns a stronger one's embeddings, on clean and covered views. No labels are needed.

Everything of a step happens where the network is: faces and occluders lie in the device's memory as bytes, views are
made by tensor operations, so that a GPU is not kept waiting and a CPU does nothing twice.
"""

from __future__ import annotations

from edgeface.distillation.answers import CachedTeacher
from edgeface.distillation.covers import Covers, draw_covers
from edgeface.distillation.packed import pack_faces, read_packed
from edgeface.distillation.run import DistillResult, distill
from edgeface.distillation.settings import DistillSettings
from edgeface.distillation.step import Distiller
from edgeface.distillation.teacher import Teacher

__all__ = [
    "CachedTeacher",
    "Covers",
    "DistillResult",
    "DistillSettings",
    "Distiller",
    "Teacher",
    "distill",
    "draw_covers",
    "pack_faces",
    "read_packed",
]
