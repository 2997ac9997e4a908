"""A scarf, worn over mouth and nose (or pasted anywhere as a band of cloth): plain, striped, plaid or knitted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.sprite import Sprite, fill, folds, grain, mixed, shade, vivid

__all__ = ["draw_scarf"]

_DENSITY = 1.5
_LEFT, _TOP, _WIDTH, _HEIGHT = -16.0, 58.0, 128.0, 78.0


def draw_scarf(rng: np.random.Generator, points: NDArray[np.float64]) -> Sprite:
    """A scarf whose upper rim lies at the nose of a face with landmarks `points` (5, 2), in the template's frame."""
    at = (points - (_LEFT, _TOP)) * _DENSITY
    height, width = int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY)
    nose, mouth = float(at[2][1]), float(at[3:, 1].mean())
    drop = max(mouth - nose, 8.0)
    x = np.linspace(-1, 1, width, dtype=np.float32)
    tilt, lift = rng.uniform(-0.35, 0.35), rng.uniform(-0.1, 0.5)
    wave = 0.07 * np.sin(x * rng.uniform(4, 9) + rng.uniform(0, 6.3))
    rim = nose + drop * (rng.uniform(-0.35, 0.45) + tilt * x - lift * x**2 + wave)
    foot = float(np.clip(nose + drop * rng.uniform(2.6, 3.4), 0, height - 4)) + 0.0 * x

    rows = np.arange(height, dtype=np.float32)[:, None]
    drape = np.asarray(rows - rim[None], np.float32)
    bgr = _cloth(rng, drape, width)
    light = _drapery(rng, drape, x) * folds(rng, height, width, (4, 5), 0.1)
    light += grain(rng, height, width, rng.uniform(0.02, 0.06))
    bgr = shade(bgr, light)

    alpha = np.zeros((height, width), np.uint8)
    columns = np.arange(0, width, 4)
    upper = np.stack((columns, rim[columns]), 1)
    lower = np.stack((columns, foot[columns]), 1)
    upper[0, 0] = lower[0, 0] = -2
    upper[-1, 0] = lower[-1, 0] = width + 2
    fill(alpha, np.concatenate((upper, lower[::-1])), 255)
    anchor = (0.5 * width, 0.5 * float(rim[width // 2] + foot[width // 2]))
    return Sprite(bgr, alpha, anchor, _DENSITY, (_LEFT, _TOP))


def _cloth(rng: np.random.Generator, drape: NDArray[np.float32], width: int) -> NDArray[np.uint8]:
    """The weave's colours: a palette looked up by the distance below the rim, so that stripes follow the fall."""
    base, second, third = vivid(rng, 0.8, 0.55), vivid(rng, 0.8, 0.6), vivid(rng, 0.6, 0.75)
    kind = int(rng.integers(4))
    length = 256
    palette = np.tile(np.asarray(base, np.float32), (length, 1))
    if kind in (1, 2):
        pitch, broad = int(rng.integers(14, 34)), rng.uniform(0.25, 0.6)
        phase = (np.arange(length) % pitch) / pitch
        palette[phase < broad] = second
        palette[np.abs(phase - 0.8) < 0.07] = third
    rank = np.clip(drape + 40, 0, length - 1).astype(np.uint8)
    bgr = palette.astype(np.uint8)[rank]
    if kind == 2:
        pitch = int(rng.integers(18, 40))
        bars = (np.arange(width) % pitch) < 0.4 * pitch
        bgr[:, bars] = (bgr[:, bars] // 2 + np.asarray(mixed(second, third, 0.5), np.uint8) // 2).astype(np.uint8)
    elif kind == 3:
        rib = 4 + 2 * int(rng.integers(3))
        along = 1 + 0.22 * np.cos(np.arange(width, dtype=np.float32) * (2 * np.pi / rib))
        down = 1 + 0.10 * np.cos(np.arange(len(bgr), dtype=np.float32) * (2 * np.pi / 4))
        bgr = shade(bgr, np.outer(down, along).astype(np.float32))
    return bgr


def _drapery(rng: np.random.Generator, drape: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light over the folds: rolls that run along the rim at a slant, dark under each, as cloth wound round a neck."""
    pitch, slant = rng.uniform(24, 46), rng.uniform(-16, 16)
    phase = (drape + slant * x[None]) * np.float32(2 * np.pi / pitch) + np.float32(rng.uniform(-0.8, 0.8))
    table = 0.9 + 0.36 * np.cos(np.linspace(0, 2 * np.pi, 64, endpoint=False)) ** 3
    index = (phase * np.float32(64 / (2 * np.pi))).astype(np.int32) & 63
    return np.asarray(table.astype(np.float32)[index] * (1.08 - 0.22 * x**2)[None], np.float32)
