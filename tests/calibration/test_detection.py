"""The detection report: by hand on made-up points, and its figures on real photographs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_calibration.detection import compare_landmarks, measure_detection
from edgeface_calibration.landmarks import read_landmarks
from edgeface_runtime.detect import Detector
from edgeface_runtime.errors import InputError

POINTS = np.array([(10, 10), (50, 10), (30, 30), (15, 50), (45, 50)], dtype=np.float64)


def test_report_by_hand() -> None:
    reference = dict.fromkeys("abcd", POINTS)  # 40 pixels between the eyes
    found = {"a": POINTS + np.array([3, 4]), "b": POINTS, "c": POINTS + np.array([0, 1]), "d": None}
    report = compare_landmarks(found, reference)
    assert (report.pictures, report.found, report.found_share) == (4, 3, 0.75)
    assert report.missed == ("d",)
    assert report.error_px is not None and report.error_eyes is not None
    assert report.error_px.median == 1.0  # of 0, 1, 5
    assert report.error_px.p90 == pytest.approx(1 + 0.8 * 4)
    assert report.error_eyes.p99 == pytest.approx((1 + 0.98 * 4) / 40)
    assert report.agree_share == 0.5  # 5 pixels are more than 4
    assert json.loads(json.dumps(report.to_dict()))["error_px"]["median"] == 1.0


def test_nothing_found_has_no_error() -> None:
    report = compare_landmarks({}, {"a": POINTS})
    assert report.found_share == 0 and report.error_px is None and report.error_eyes is None


def test_bad_references_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.json"
    with pytest.raises(InputError, match="cannot read"):
        read_landmarks(path)
    cases = {"[": "not JSON", "{}": "no pictures", '{"a": [[1, 2]]}': "a has no five", '{"a": "x"}': "a has no five"}
    for text, words in cases.items():
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_landmarks(path)
    with pytest.raises(InputError, match="coincide"):
        compare_landmarks({}, {"a": np.ones((5, 2))})


def test_unreadable_pictures_are_missed_and_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    (tmp_path / "bad.jpg").write_text("no picture")
    cv2.imwrite(str(tmp_path / "blank.png"), np.zeros((60, 60, 3), np.uint8))
    (tmp_path / "l.json").write_text(json.dumps({"bad.jpg": POINTS.tolist(), "blank.png": POINTS.tolist()}))
    seen = []
    with Detector() as detector:
        report = measure_detection(
            tmp_path, tmp_path / "l.json", detector, lambda done, total: seen.append((done, total))
        )
    assert set(report.missed) == {"bad.jpg", "blank.png"}
    assert len(report.unreadable) == 1 and "bad.jpg" in report.unreadable[0]
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.data
def test_faces_are_found_where_the_reference_has_them(data_dir: Path, tmp_path: Path) -> None:
    reference = json.loads((data_dir / "photos" / "landmarks.json").read_text())
    part = tmp_path / "landmarks.json"
    part.write_text(json.dumps(dict(list(reference.items())[:100])))
    with Detector() as detector:
        report = measure_detection(data_dir / "photos" / "lfw", part, detector)
    assert report.found_share == 1
    assert report.agree_share >= 0.95
    assert report.error_px is not None and report.error_eyes is not None
    assert report.error_px.median < 1.5
    assert report.error_eyes.p90 < 0.08
