"""A teacher's answers kept in a folder: runs that show it the same views compute them once.

With the same faces, seed and batch all runs draw the same clean views, covered or not, whatever the student is; and
on a CPU a teacher takes most of the time of a narrow student. A file holds one batch's answers, found by a hash over
the teacher, what runs it, and every byte of the views, so that what is taken is bit for bit what was put there.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgeface.data.cache_folder import DAMAGED
from edgeface.distillation.teacher import Teacher
from edgeface.models.digest import weights_digest
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import atomic_path

__all__ = ["CachedTeacher"]

FORMAT = "edgeface-answers-1"


class CachedTeacher:
    """A `Teacher` whose answers are taken from a folder, or put there.

    Args:
        folder: made when the first answer is put there.
        device: where the views are; they are hashed on the CPU.
    """

    def __init__(self, teacher: Teacher, folder: Path, device: torch.device) -> None:
        self.taken = self.put = 0
        """Faces whose answers came from the folder, and that were put there."""
        self.notes: list[str] = []
        """What went wrong in the folder, a line each."""
        self._teacher, self._folder = teacher, folder
        facts = [1, weights_digest(teacher.model), teacher.precision, device.type, torch.__version__]
        if device.type == "cpu":
            facts.append(torch.get_num_threads())
        self._facts = json.dumps(facts).encode()

    def __call__(self, faces: Tensor) -> Tensor:
        """As `Teacher.forward`."""
        pixels = faces.contiguous().cpu().numpy()
        key = hashlib.sha256(self._facts + str(pixels.shape).encode())
        key.update(pixels.data)
        file = self._folder / f"{key.hexdigest()}.npz"
        answer = self._read(file, len(faces))
        if answer is None:
            answer = self._teacher.answer(faces)
            self._write(file, answer)
            return self._teacher.turned(answer)
        self.taken += len(faces)
        return self._teacher.turned(answer.to(faces.device))

    def _read(self, file: Path, count: int) -> Tensor | None:
        if not os.path.lexists(file):
            return None
        shape = (count, self._teacher.turn.shape[0])
        try:
            with np.load(file, allow_pickle=False) as data:  # a zip: its checksums are compared
                found, kind = data["answer"], str(data["format"])
            if kind != FORMAT or found.shape != shape or found.dtype != np.float32 or not np.isfinite(found).all():
                raise ValueError("not a batch's answers")
        except DAMAGED:
            self.notes.append(f"{file} is damaged or holds no answers: made anew")
            return None
        return torch.from_numpy(found)

    def _write(self, file: Path, answer: Tensor) -> None:
        try:
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.savez(stream, allow_pickle=False, format=np.array(FORMAT), answer=answer.cpu().numpy())
            self.put += len(answer)
        except InputError as exc:  # the run goes on without
            note = f"answers are not kept: {exc}"
            if note not in self.notes:
                self.notes.append(note)
