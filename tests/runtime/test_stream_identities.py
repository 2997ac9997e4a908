"""Who a tracked face is, and when it is embedded again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.detect import Face
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_results import GallerySource
from edgeface_runtime.results import Threshold
from edgeface_runtime.stream import Event, Frame, TrackedFace
from edgeface_runtime.stream.identities import Identities
from edgeface_runtime.stream.presence import Presence
from edgeface_runtime.stream.tracker import Track
from edgeface_runtime.stream.worth import look_of, quality_of

Scene = Callable[..., np.ndarray]
LIMIT = Threshold(0.9, "given")


@pytest.fixture
def people(spots: Any, scene: Scene, tmp_path: Path) -> Iterator[Gallery]:
    with spots.open_gallery(tmp_path / "g.db", create=True) as gallery:
        for seed, name in ((1, "Ada"), (2, "Bob")):
            spots.enroll(gallery, name, [scene((seed, 50, 50))])
        spots.embedded = 0
        yield gallery


def frame(image: np.ndarray, at_s: float = 0.0, cut: bool = False) -> Frame:
    return Frame(0, "film", image, at_s, at_s, at_s, cut)


def track(number: int = 1, x: int = 50, y: int = 50, detected: bool = True, landmarks: object = None) -> Track:
    points = np.add(TEMPLATE, (x, y)) if landmarks is None else landmarks
    box = np.array([x, y, x + 96, y + 112], np.float32)
    return Track(number, Face(box, np.asarray(points, np.float32), 0.9), detected, 0)


class Seen:
    """Identities, asked picture by picture; events are kept."""

    def __init__(self, spots: Any, gallery: Gallery | None, refresh_s: float = 10.0) -> None:
        self.events: list[Event] = []
        self.spots = spots
        self.of = Identities(spots, gallery, LIMIT if gallery else None, refresh_s, self.events.append)

    def __call__(self, image: np.ndarray, *tracks: Track, at_s: float = 0.0) -> tuple[TrackedFace, ...]:
        return self.of.step(frame(image, at_s), tracks, {})


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def test_a_face_that_stays_is_embedded_once(spots: Any, people: Gallery, scene: Scene) -> None:
    seen = Seen(spots, people)
    rng = np.random.default_rng(0)
    for n in range(40):
        noisy = np.clip(scene((1, 50, 50)) + rng.normal(0, 3, (240, 320, 3)), 0, 255).astype(np.uint8)
        (face,) = seen(noisy, track(detected=n % 5 == 0), at_s=n / 25)
        assert (face.name, face.embedded) == ("Ada", n == 0)
        assert face.age_s == pytest.approx(n / 25)
        assert face.score is not None and face.score > 0.95
    assert (spots.embedded, seen.of.embeddings, seen.of.saved) == (1, 1, 39)


def test_a_clearly_better_picture_is_embedded(spots: Any, people: Gallery, scene: Scene) -> None:
    seen, image = Seen(spots, people), scene((1, 50, 50))
    (first,) = seen(blurred(image, 6), track())
    (second,) = seen(image, track(detected=False), at_s=1)  # not found by the detector: where it is, is a guess
    (third,) = seen(image, track(), at_s=2)
    assert [face.embedded for face in (first, second, third)] == [True, False, True]
    assert third.quality > 1.2 * first.quality
    assert third.age_s == 0
    (fourth,) = seen(blurred(image, 2), track(), at_s=3)
    assert not fourth.embedded and fourth.quality == third.quality


def test_after_a_time_it_is_embedded_again_and_the_better_picture_decides(
    spots: Any, people: Gallery, scene: Scene
) -> None:
    seen, image = Seen(spots, people, refresh_s=5), scene((1, 50, 50))
    (sharp,) = seen(image, track())
    (kept,) = seen(blurred(image, 3), track(), at_s=4.9)
    (again,) = seen(blurred(image, 3), track(), at_s=5.0)
    (rest,) = seen(blurred(image, 3), track(), at_s=9.9)
    assert [face.embedded for face in (sharp, kept, again, rest)] == [True, False, True, False]
    assert again.decided is sharp.decided and again.age_s == 5.0


def test_somebody_else_on_the_same_track_is_seen(spots: Any, people: Gallery, scene: Scene) -> None:
    """Should a track ever go over to another person, their look gives them away; no better picture keeps the name."""
    seen = Seen(spots, people)
    assert seen(scene((1, 50, 50)), track())[0].name == "Ada"
    for seed, name in ((2, "Bob"), (3, None)):
        (face,) = seen(blurred(scene((seed, 50, 50)), 3), track(), at_s=0.1)
        assert (face.embedded, face.name) == (True, name)


def test_two_faces_are_one_batch_and_a_track_that_ended_is_forgotten(
    spots: Any, people: Gallery, scene: Scene
) -> None:
    seen, image = Seen(spots, people), scene((1, 20, 50), (2, 180, 50))
    faces = seen(image, track(1, 20), track(2, 180))
    assert [face.name for face in faces] == ["Ada", "Bob"]
    assert seen(image, track(2, 180))[0].embedded is False
    assert seen(image, track(1, 20), track(2, 180))[0].embedded is True


def test_without_a_gallery_faces_are_embedded_and_unknown(spots: Any, scene: Scene) -> None:
    (face,) = Seen(spots, None)(scene((1, 50, 50)), track())
    assert face.decided is not None and face.decided.embedding.shape == (512,)
    assert (face.name, face.score) == (None, None)


def test_landmarks_that_coincide_leave_the_face_undecided(spots: Any, people: Gallery, scene: Scene) -> None:
    seen = Seen(spots, people)
    (face,) = seen(scene((1, 50, 50)), track(landmarks=np.full((5, 2), 80)))
    assert (face.decided, face.name, face.embedded) == (None, None, False)
    assert face.to_dict()["note"] == "it cannot be aligned"
    assert seen(scene((1, 50, 50)), track())[0].name == "Ada"


def test_quality_orders_pictures_of_a_face(scene: Scene) -> None:
    crop = scene((1, 0, 0))[:112, :96]
    best = quality_of(crop, TEMPLATE)
    turned = TEMPLATE + np.array([(0, 0), (0, 0), (14, 0), (0, 0), (0, 0)])
    assert 0 < quality_of(blurred(crop, 3), TEMPLATE) < best <= 1
    assert quality_of(crop, TEMPLATE / 2) == pytest.approx(best / 2)  # half as large in the picture
    assert quality_of(crop, TEMPLATE * 3) == pytest.approx(best)
    assert quality_of(crop, turned) < 0.6 * best
    assert quality_of(crop, np.zeros((5, 2))) == 0


def test_a_look_does_not_change_with_the_light(scene: Scene) -> None:
    crop = scene((1, 0, 0))[:112, :96]
    darker = (crop * 0.6 + 10).astype(np.uint8)
    assert float(look_of(crop) @ look_of(darker)) > 0.99
    assert float(look_of(crop) @ look_of(scene((2, 0, 0))[:112, :96])) < 0.5
    assert not look_of(np.full_like(crop, 90)).any()


def who(number: int, name: str | None) -> Any:
    class Face:
        track = number
        score = 0.5

    Face.name = name  # type: ignore[attr-defined]
    return Face


def told(presence: Presence, at_s: float, *faces: Any, cut: bool = False) -> list[tuple[str, str]]:
    events = presence.step(frame(np.zeros((2, 2, 3), np.uint8), at_s, cut), faces)
    return [(event.kind, event.message) for event in events]


def test_who_came_and_went_is_told_once() -> None:
    presence = Presence(related=True)
    assert told(presence, 0.0, who(1, "Ada")) == [("came", "Ada came (0.50)")]
    assert told(presence, 1.0, who(1, "Ada"), who(2, None)) == [("came", "unknown (track 2) came (0.50)")]
    assert told(presence, 2.0, who(3, "Ada"), who(2, None)) == []  # on another track
    assert told(presence, 3.0) == told(presence, 4.0) == []
    assert told(presence, 4.1) == [
        ("went", "Ada went, seen for 2.0 s"),
        ("went", "unknown (track 2) went, seen for 1.0 s"),
    ]
    assert told(presence, 5.0, who(4, "Ada")) == [("came", "Ada came (0.50)")]


def test_a_track_that_gets_a_name_has_not_gone() -> None:
    presence = Presence(related=True)
    told(presence, 0.0, who(1, None))
    assert told(presence, 0.1, who(1, "Ada")) == [("changed", "unknown (track 1) is Ada (0.50)")]
    assert told(presence, 0.2, who(1, "Bob"), who(2, "Ada")) == [("came", "Bob came (0.50)")]
    assert told(presence, 9.0) == [("went", "Ada went, seen for 0.1 s"), ("went", "Bob went, seen for 0.0 s")]


def test_after_a_cut_everybody_is_new() -> None:
    related, unrelated = Presence(related=True), Presence(related=False)
    for presence in (related, unrelated):
        told(presence, 0.0, who(1, "Ada"), cut=True)
    assert [kind for kind, _ in told(related, 0.1, who(2, "Ada"), cut=True)] == ["went", "came"]
    assert [kind for kind, _ in told(unrelated, 0.1, who(2, "Ada"), cut=True)] == ["came"]


def test_a_copy_that_takes_over_is_told_once_and_so_is_the_end_of_it(
    spots: Any, people: Gallery, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, copy = GallerySource("milvus://h/p"), GallerySource("c.db", "milvus://h/p", "2026-01-02", "no connection")
    answers = iter([server, copy, copy, server, server])
    monkeypatch.setattr(people, "source", lambda: next(answers))
    seen = Seen(spots, people, refresh_s=1.0)
    for second in range(5):
        seen(scene((1, 50, 50)), track(), at_s=2.0 * second)
    assert [(event.kind, event.message, event.at_s) for event in seen.events] == [
        ("stale", "no connection; answered by the copy c.db, stale since 2026-01-02", 2.0),
        ("fresh", "gallery milvus://h/p answers again", 6.0),
    ]
