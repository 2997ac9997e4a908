"""Tracks: numbers that stay with a face and are never handed on by place alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeface_runtime.detect import Face
from edgeface_runtime.stream.tracker import Tracker, overlaps

Scene = Callable[..., np.ndarray]


def face(x: float, y: float, size: float = 96) -> Face:
    box = np.array([x, y, x + size, y + size * 112 / 96], np.float32)
    return Face(box, np.tile(box[:2], (5, 1)) + size / 2, 0.9)


def numbers(tracker: Tracker) -> list[int]:
    return [track.number for track in tracker.tracks]


def test_overlaps_by_hand() -> None:
    a = np.array([[0, 0, 2, 2], [10, 10, 11, 11]], np.float32)
    b = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    np.testing.assert_allclose(overlaps(a, b), [[1 / 3, 1, 0], [0, 0, 0]], atol=1e-6)


def test_a_face_keeps_its_number_and_is_followed_between_detections(scene: Scene) -> None:
    tracker = Tracker(every=4)
    due = []
    for n in range(9):
        due.append(tracker.advance(scene((1, 60 + 5 * n, 50), (2, 200, 100 - 3 * n)), cut=n == 0))
        if due[-1]:
            tracker.correct([face(60 + 5 * n, 50), face(200, 100 - 3 * n)])
        assert numbers(tracker) == [1, 2]
        assert [track.detected for track in tracker.tracks] == [due[-1]] * 2
        np.testing.assert_allclose(tracker.tracks[0].face.box[:2], [60 + 5 * n, 50], atol=1.5)
        np.testing.assert_allclose(tracker.tracks[1].face.box[:2], [200, 100 - 3 * n], atol=1.5)
        np.testing.assert_allclose(tracker.tracks[0].face.landmarks[0], [108 + 5 * n, 98], atol=1.5)
    assert due == [True, False, False, False, True, False, False, False, True]


def test_a_lost_face_has_the_detector_run_at_once_and_is_new_when_found(scene: Scene) -> None:
    tracker = Tracker(every=100)
    assert tracker.advance(scene((1, 60, 50)), cut=True)
    tracker.correct([face(60, 50)])
    assert not tracker.advance(scene((1, 62, 50)), cut=False)
    assert tracker.advance(scene((7, 62, 50)), cut=False)  # somebody else at that place
    assert numbers(tracker) == []
    tracker.correct([face(62, 50)])
    assert numbers(tracker) == [2]


def test_a_cut_ends_all_tracks(scene: Scene) -> None:
    tracker = Tracker(every=100)
    for cut in (True, True):
        assert tracker.advance(scene((1, 60, 50)), cut)
        tracker.correct([face(60, 50)])
    assert numbers(tracker) == [2]
    assert tracker.advance(scene((1, 60, 50), size=(300, 400)), cut=False)  # another size is another scene
    assert numbers(tracker) == []


def test_a_face_the_detector_misses_is_kept_for_two_detections(scene: Scene) -> None:
    tracker = Tracker(every=1)
    for found, kept in (([face(60, 50)], [1]), ([], [1]), ([], [1]), ([], [])):
        tracker.advance(scene((1, 60, 50)), cut=False)
        tracker.correct(found)
        assert numbers(tracker) == kept


def test_an_undetected_track_on_a_detected_face_goes(scene: Scene) -> None:
    """Two tracks of one face: the detector finds one face, so one track stays."""
    tracker = Tracker(every=1)
    tracker.advance(scene((1, 60, 50)), cut=True)
    tracker.correct([face(60, 50), face(66, 53)])
    assert numbers(tracker) == [1, 2]
    tracker.advance(scene((1, 60, 50)), cut=False)
    tracker.correct([face(60, 50)])
    assert numbers(tracker) == [1]


def test_the_best_overlap_wins(scene: Scene) -> None:
    tracker = Tracker(every=1)
    tracker.advance(scene((1, 60, 50), (2, 180, 60)), cut=True)
    tracker.correct([face(60, 50), face(180, 60)])
    tracker.advance(scene((1, 60, 50), (2, 180, 60)), cut=False)
    tracker.correct([face(178, 58), face(20, 50), face(61, 50)])
    assert {track.number: track.face.box[0] for track in tracker.tracks} == {1: 61, 2: 178, 3: 20}
