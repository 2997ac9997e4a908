"""How good the picture of a face is for recognising it: separate measures, each with a limit, and reasons in words.

There is no score of it all. Each limit is where, on real faces, the false non-match rate at a false match rate of
1e-3 was about twice that of good pictures (docs/quality.md; `benchmarks/quality.py` measures it again). What no
picture at hand was poor enough to fail on has a limit by judgement, and the page says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.align import CROP_SIZE, TEMPLATE, align, similarity
from edgeface_runtime.detect import Face
from edgeface_runtime.manifest import Manifest
from edgeface_runtime.pose import head_pose
from edgeface_runtime.sharpness import blur_width

__all__ = ["LIMITS", "Limits", "Quality", "is_usual", "limits_of", "measure_quality"]

EYES_IN_CROP = float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0]))
INNER = (slice(20, 108), slice(12, 84))
"""Rows and columns of an aligned crop that hold brows to chin, without hair and background."""
DARK, LIGHT = 0.05, 0.95
"""Quantiles of the inner face's grey values between which its contrast lies."""


@dataclass(frozen=True)
class Limits:
    """From where a measure is called poor. A limit itself is still good."""

    eyes_px: float = 12.0
    """Fewest pixels between the eyes."""
    blur_px: float = 2.4
    """Widest blur, pixels of the 112x96 crop."""
    brightness: tuple[float, float] = (0.12, 0.8)
    """Darkest and lightest mean, of 1."""
    contrast: float = 0.18
    """Least spread of grey values, of 1."""
    yaw_deg: float = 45.0
    """Furthest turned to a side."""
    pitch_deg: float = 40.0
    """Furthest up or down."""
    detection: float = 0.9
    """Least confidence of the detection."""
    outside_share: float = 0.2
    """Most of the crop that may lie outside the picture."""
    covered_share: float = 0.2
    """Most of the face that may be covered, of its pixels; see `limits_of` for shares of another kind."""

    def __post_init__(self) -> None:
        low, high = self.brightness
        if not 0 <= low < high <= 1:
            raise ValueError(f"brightness limits must rise within 0 and 1, got {self.brightness}")


LIMITS = Limits()
"""The usual ones."""


def limits_of(manifest: Manifest) -> Limits:
    """The usual limits, that of the covered share as a bundle's share means it.

    A dictionary model's share is of pixels. Another model's is uncalibrated: its limit is where calibration found
    that clean faces end; where calibration found none, no face is called covered.
    """
    if manifest.dictionary is not None:
        return LIMITS
    above = manifest.decision.covered_above
    return replace(LIMITS, covered_share=1.0 if above is None else above)


def is_usual(manifest: Manifest) -> bool:
    """Whether a bundle's crops are those that quality is measured on."""
    spec = manifest.input
    usual = manifest.crop == "aligned" and (spec.height, spec.width) == CROP_SIZE
    return usual and bool(np.allclose(manifest.template, TEMPLATE, atol=1e-3))


@dataclass(frozen=True)
class Quality:
    """What can be said of one face in one picture."""

    eyes_px: float
    """Distance between the eyes, pixels of the picture, as it would be seen from the front."""
    box_px: float
    """The detector's box, its shorter side, pixels."""
    blur_px: float
    """Width (standard deviation) of the blur, pixels of the 112x96 crop; a face too small is blurred too."""
    brightness: float
    """Mean grey value of the inner face, in [0, 1]."""
    contrast: float
    """Between its 5 % and 95 % quantiles, in [0, 1]."""
    yaw_deg: float
    """Turned to the side; positive where the nose points to the picture's right."""
    pitch_deg: float
    """Positive where the face looks up; rough, see pose.py."""
    roll_deg: float
    """Tilted; positive where the eye on the picture's right lies lower. Alignment takes it away."""
    detection: float
    """The detector's confidence, in [0, 1]."""
    outside_share: float
    """How much of the aligned crop lies outside the picture, in [0, 1]."""
    covered_share: float | None
    """How much of the face is covered, in [0, 1], uncalibrated; None where the bundle does not tell."""
    reasons: tuple[str, ...]
    """Why the picture is poor, in words; empty where it is not."""

    @property
    def poor(self) -> bool:
        """Whether any measure is beyond its limit."""
        return bool(self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        data = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return {**data, "poor": self.poor, "reasons": list(self.reasons)}


def measure_quality(
    image: NDArray[np.uint8],
    face: Face,
    covered_share: float | None = None,
    limits: Limits = LIMITS,
    crop: NDArray[np.uint8] | None = None,
) -> Quality:
    """Measure a face where it was found.

    Args:
        image: (H, W, 3) uint8 BGR, the whole picture.
        face: what the detector found in it.
        covered_share: how much of it is covered, in [0, 1], where that is known.
        limits: from where a measure is poor.
        crop: (112, 96, 3) uint8 BGR, the face as `align` cuts it out, where that is done already.

    Raises:
        ImageError: the picture is not (H, W, 3) uint8.
        FaceError: the landmarks coincide or are not finite.
    """
    matrix = similarity(face.landmarks, TEMPLATE)
    aligned = align(image, face.landmarks) if crop is None else crop
    grey = cv2.cvtColor(aligned, cv2.COLOR_BGR2GRAY).astype(np.float32)[INNER]
    low, high = np.quantile(grey, (DARK, LIGHT))
    pose = head_pose(face.landmarks)
    x1, y1, x2, y2 = (float(value) for value in face.box)
    measured = {
        "eyes_px": EYES_IN_CROP / float(np.hypot(matrix[0, 0], matrix[1, 0])),
        "box_px": min(x2 - x1, y2 - y1),
        "blur_px": blur_width(grey),
        "brightness": float(grey.mean()) / 255,
        "contrast": float(high - low) / 255,
        **vars(pose),
        "detection": float(face.score),
        "outside_share": _outside(image.shape, matrix),
    }
    return Quality(**measured, covered_share=covered_share, reasons=_reasons(measured, covered_share, limits))


def _outside(shape: tuple[int, ...], matrix: NDArray[np.float64]) -> float:
    """Share of the crop's pixels that come from outside the picture."""
    height, width = CROP_SIZE
    back = cv2.invertAffineTransform(matrix)
    xs, ys = np.meshgrid(np.arange(width), np.arange(height))
    x = back[0, 0] * xs + back[0, 1] * ys + back[0, 2]
    y = back[1, 0] * xs + back[1, 1] * ys + back[1, 2]
    inside = (x > -1) & (y > -1) & (x < shape[1]) & (y < shape[0])
    return float(1 - inside.mean())


def _reasons(measured: dict[str, float], covered: float | None, limits: Limits) -> tuple[str, ...]:
    """What is beyond its limit, the plainest first. A small face is blurred too: only its size is named."""
    darkest, lightest = limits.brightness
    small = measured["eyes_px"] < limits.eyes_px
    found = (
        (small, f"too small (eyes {measured['eyes_px']:.0f} pixels apart, {limits.eyes_px:.0f} needed)"),
        (
            not small and measured["blur_px"] > limits.blur_px,
            f"blurred (by {measured['blur_px']:.1f} pixels, at most {limits.blur_px:g})",
        ),
        (measured["brightness"] < darkest, f"too dark ({measured['brightness']:.0%} of white)"),
        (measured["brightness"] > lightest, f"too light ({measured['brightness']:.0%} of white)"),
        (measured["contrast"] < limits.contrast, f"without contrast ({measured['contrast']:.0%} of the range)"),
        (abs(measured["yaw_deg"]) > limits.yaw_deg, f"turned away ({abs(measured['yaw_deg']):.0f} degrees)"),
        (measured["pitch_deg"] > limits.pitch_deg, f"looking up ({measured['pitch_deg']:.0f} degrees)"),
        (measured["pitch_deg"] < -limits.pitch_deg, f"looking down ({-measured['pitch_deg']:.0f} degrees)"),
        (measured["outside_share"] > limits.outside_share, f"cut off ({measured['outside_share']:.0%} is missing)"),
        (covered is not None and covered > limits.covered_share, f"covered ({covered or 0:.0%})"),
        (measured["detection"] < limits.detection, f"hardly a face (detected at {measured['detection']:.2f})"),
    )
    return tuple(words for poor, words in found if poor)
