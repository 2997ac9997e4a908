"""How many faces the detector finds, and how far its landmarks lie from somebody else's.

Run: `python benchmarks/detection.py PICTURES LANDMARKS.json`; the JSON maps a picture's name to five (x, y) points.
Without LANDMARKS only the found share is measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgeface_calibration.detection import measure_detection
from edgeface_runtime.detect import Detector
from edgeface_runtime.errors import EdgefaceError, ImageError
from edgeface_runtime.image import list_images, read_image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("landmarks", type=Path, nargs="?")
    parser.add_argument("--min-face", type=int, default=40)
    options = parser.parse_args()
    try:
        with Detector(min_face=options.min_face) as detector:
            if options.landmarks:
                report = measure_detection(options.pictures, options.landmarks, detector)
                print(f"found {report.found} of {report.pictures} ({100 * report.found_share:.1f} %)")
                print(f"landmark error, pixels: {report.error_px}")
                print(f"landmark error, share of the distance between the eyes: {report.error_eyes}")
                print(f"agreeing within a tenth of that distance: {100 * report.agree_share:.1f} %")
            else:
                found_share(options.pictures, detector)
    except EdgefaceError as exc:
        print(f"detection: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def found_share(folder: Path, detector: Detector) -> None:
    found = unreadable = 0
    pictures = list_images(folder, recursive=True)
    for path in pictures:
        try:
            found += bool(detector.detect(read_image(path)))
        except ImageError:
            unreadable += 1
    print(f"found a face in {found} of {len(pictures)} pictures, {unreadable} unreadable")


if __name__ == "__main__":
    sys.exit(main())
