"""Faces whose embedding is known beforehand: every picture has one colour, and the colour is the person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.evaluation.embedder import Embedder

Angles = dict[tuple[str, int], float]


class Told:
    """Writes pictures that stand for directions in the plane, and embeds them again.

    A picture of angle a (whole degrees) is filled with the grey value a; its embedding is (cos a, sin a). A pair's
    score is so the cosine of the angle between them. `calls` lists the angles of every batch.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[int]] = []

    def write(self, person: str, angle: int, number: int | None = None) -> Path:
        folder = self.root / person
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir())) + 1 if number is None else number
        path = folder / f"{person}_{number:04d}.png"
        cv2.imwrite(str(path), np.full((112, 96, 3), angle, np.uint8))
        return path

    def embedder(self) -> Embedder:
        def run(faces: np.ndarray) -> np.ndarray:
            angles = faces[:, 0, 0, 0]  # a corner no occluder of these tests reaches
            self.calls.append([int(angle) for angle in angles])
            turned = np.radians(angles.astype(np.float64))
            return np.stack([np.cos(turned), np.sin(turned)], 1).astype(np.float32)

        return Embedder(run, {"backend": "told"})


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "images")


@pytest.fixture
def pairs_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "set" / "pairs.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write
