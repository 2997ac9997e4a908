"""A stream as a whole: results in order, bounded queues, and an end that always comes."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeface_runtime
from edgeface_runtime.errors import ArtefactError, DeviceError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.stream import Event, Stream, StreamSettings
from edgeface_runtime.stream import stream as module

Scene = Callable[..., np.ndarray]
Film = Callable[..., Path]
LIMIT = StreamSettings(threshold=0.9)


@pytest.fixture
def people(spots: Any, scene: Scene, tmp_path: Path) -> Iterator[Gallery]:
    with spots.open_gallery(tmp_path / "g.db", create=True) as gallery:
        for seed, name in ((1, "Ada"), (2, "Bob")):
            spots.enroll(gallery, name, [scene((seed, 50, 50))])
        spots.embedded = spots._detector.asked = 0
        yield gallery


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert [thread.name for thread in set(threading.enumerate()) - before] == []


def test_a_video_is_recognised(spots: Any, people: Gallery, scene: Scene, film: Film) -> None:
    """Ada walks along for two seconds; a stranger is there from the second second on."""
    pictures = [scene((1, 30 + n, 60), *([(3, 200, 100)] if n >= 25 else [])) for n in range(50)]
    told: list[Event] = []
    with Stream(spots, film(pictures), people, LIMIT, on_event=told.append) as stream:
        results = list(stream)
    assert [result.frame.number for result in results] == list(range(50))
    assert [len(result.faces) for result in results] == [1] * 25 + [2] * 25
    for n, result in enumerate(results):
        ada = result.faces[0]
        assert (ada.track, ada.name, ada.embedded, ada.detected) == (1, "Ada", n == 0, n % 5 == 0)
        np.testing.assert_allclose(ada.box, [30 + n, 60, 126 + n, 172], atol=4)
        assert result.latency_ms["whole"] > 0 and {"decode", "track"} <= set(result.latency_ms)
    stranger = results[-1].faces[1]
    assert (stranger.track, stranger.name, stranger.decided.candidates[0].score < 0.9) == (2, None, True)
    assert [(event.kind, event.name, event.at_s) for event in told] == [("came", "Ada", 0.0), ("came", None, 1.0)]
    summary = stream.summary()
    assert (summary.read, summary.handled, summary.dropped, summary.tracks) == (50, 50, 0, 2)
    assert (summary.faces, summary.embeddings, summary.saved, summary.detections) == (75, 2, 73, 10)
    assert (spots.embedded, spots._detector.asked) == (2, 10)
    assert summary.stages["embed"].runs == 2 and summary.stages["whole"].runs == 50
    assert summary.fps > 0 and summary.peak_memory_bytes > 10e6
    data = json.loads(json.dumps([results[-1].to_dict(), summary.to_dict(), told[0].to_dict()]))
    assert data[0]["faces"][0]["name"] == "Ada" and data[1]["threshold"] == {"value": 0.9, "source": "given"}
    with pytest.raises(StopIteration):
        next(stream)


def test_results_are_frozen(spots: Any, scene: Scene, film: Film) -> None:
    with Stream(spots, film([scene((1, 30, 60))])) as stream:
        result = next(stream)
    for thing in (result, result.frame, result.faces[0], stream.summary()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            thing.dropped = 3  # type: ignore[misc]


def test_the_names_at_the_front(spots: Any, scene: Scene, film: Film) -> None:
    found = [len(result.faces) for result in edgeface_runtime.Stream(spots, film([scene((1, 30, 60))] * 3))]
    assert found == [1, 1, 1]


def test_a_cut_to_somebody_else_at_the_same_place(spots: Any, people: Gallery, scene: Scene, film: Film) -> None:
    pictures = [scene((1 if n < 7 else 2, 100, 60)) for n in range(12)]
    with Stream(spots, film(pictures), people, LIMIT) as stream:
        faces = [result.faces[0] for result in stream]
    assert [face.name for face in faces] == ["Ada"] * 7 + ["Bob"] * 5
    assert [face.track for face in faces] == [1] * 7 + [2] * 5


def test_pictures_of_a_folder_are_unrelated(spots: Any, people: Gallery, scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        cv2.imwrite(str(folder / f"{name}.png"), scene((seed, 100, 60)))
    (folder / "d.jpg").write_text("no picture")
    told: list[Event] = []
    with Stream(spots, folder, people, LIMIT, on_event=told.append) as stream:
        results = list(stream)
    assert [(Path(r.frame.source).name, r.faces[0].name, r.faces[0].track) for r in results] == [
        ("a.png", "Ada", 1),
        ("b.png", "Ada", 2),
        ("c.png", "Bob", 3),
    ]
    assert sorted(event.kind for event in told) == ["came", "came", "came", "unreadable"]
    assert (stream.summary().unreadable, stream.rate) == (1, None)


def test_only_the_region_is_searched(spots: Any, scene: Scene, film: Film) -> None:
    path = film([scene((1, 10, 60), (2, 200, 60))] * 2)
    with Stream(spots, path, settings=StreamSettings(roi=(150, 20, 320, 240))) as stream:
        faces = [result.faces for result in stream]
    assert [len(found) for found in faces] == [1, 1]
    np.testing.assert_allclose(faces[0][0].box, [200, 60, 296, 172], atol=3)
    np.testing.assert_allclose(faces[0][0].landmarks[0], [230.3, 111.7], atol=3)
    with (
        pytest.raises(InputError, match="--roi is 0,0,400,100: the pictures have 320x240 pixels: give a part"),
        Stream(spots, path, settings=StreamSettings(roi=(0, 0, 400, 100))) as stream,
    ):
        list(stream)


def test_a_stalled_consumer_of_a_camera_loses_the_oldest(spots: Any, scene: Scene, camera: Any) -> None:
    """While nobody takes results the camera is read on; at the end there are the first few and the last few."""
    begun, read_all = threading.Event(), threading.Event()
    picture = scene((1, 100, 60))

    def second() -> np.ndarray:
        assert begun.wait(20)
        return picture

    def last() -> np.ndarray:
        read_all.set()
        return picture

    source = camera(picture, second, *[picture] * 57, last)
    with Stream(spots, source, settings=StreamSettings(max_frames=60)) as stream:
        first = next(stream)
        begun.set()
        assert read_all.wait(20), "a camera is read while its results wait"
        numbers = [first.frame.number, *(result.frame.number for result in stream)]
    dropped = stream.summary().dropped
    held = module.RESULTS + 2 * module.WAITING + 3  # in the queues, and in each stage's hands
    assert numbers == sorted(numbers) and numbers[0] == 0 and numbers[-1] == 59
    assert len(numbers) + dropped == stream.summary().read == 60
    assert len(numbers) <= held + 1
    assert numbers[-module.WAITING :] == [58, 59], "the newest are kept"


def test_a_stalled_consumer_of_a_file_loses_nothing_and_stops_the_reading(
    spots: Any, scene: Scene, camera: Any
) -> None:
    source = camera(*[scene((1, 100, 60))] * 60, live=False)
    with Stream(spots, source) as stream:
        next(stream)
        threading.Event().wait(0.3)
        assert stream.summary().read <= module.RESULTS + 2 * module.WAITING + 5
        assert [result.frame.number for result in stream] == list(range(1, 60))
    assert stream.summary().dropped == 0


def test_a_camera_that_vanishes_and_returns(
    spots: Any, people: Gallery, scene: Scene, camera: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeface_runtime.stream.reader.FIRST_DELAY_S", 0.01)
    gone = DeviceError("unplugged")
    pause = threading.Event()

    def slowly() -> np.ndarray:
        pause.wait(0.05)
        return scene((1, 100, 60))

    source = camera(*[slowly] * 3, None, gone, gone, *[slowly] * 3)
    told: list[Event] = []
    with Stream(spots, source, people, dataclasses.replace(LIMIT, max_frames=6), on_event=told.append) as stream:
        tracks = {result.frame.number: result.faces[0].track for result in stream}
    assert tracks[0] == 1 and tracks[5] == 2, "nobody is tracked through an interruption"
    kinds = [event.kind for event in told]
    assert sorted(kinds) == ["back", "came", "came", "lost", "went"]
    assert kinds.index("lost") < kinds.index("back")
    assert stream.summary().interruptions == 1


def test_giving_up_comes_after_the_results(spots: Any, scene: Scene, camera: Any) -> None:
    source = camera(scene((1, 100, 60)))
    found = []
    with (
        pytest.raises(DeviceError, match="did not come back for 0 s"),
        Stream(spots, source, settings=StreamSettings(give_up_s=0)) as stream,
    ):
        found.extend(stream)
    assert len(found) == 1


def test_ending_early_leaves_nothing_behind(spots: Any, scene: Scene, camera: Any) -> None:
    """By `close`, by leaving the loop with nobody holding the stream, and before it began. The fixture looks."""
    pictures = [scene((1, 100, 60))] * 500
    source = camera(*pictures, live=False)
    stream = Stream(spots, source)
    next(stream)
    stream.close()
    stream.close()
    assert source.closed == 1
    for _ in Stream(spots, camera(*pictures)):
        break
    unused = camera(*pictures)
    Stream(spots, unused).close()
    assert unused.opened == 0
    closed = Stream(spots, camera(*pictures))
    closed.close()
    assert list(closed) == []


def test_a_source_that_hangs_does_not_keep_the_end(
    spots: Any, scene: Scene, camera: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    hanging, answer = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        answer.wait(30)

    told: list[Event] = []
    stream = Stream(spots, camera(scene((1, 100, 60)), hang), on_event=told.append)
    next(stream)
    assert hanging.wait(20)
    left = [thread for thread in threading.enumerate() if thread.name == "edgeface-stream-read"]
    stream.close()
    assert [event.kind for event in told if event.kind == "hung"] == ["hung"]
    assert left[0].is_alive() and left[0].daemon
    answer.set()
    left[0].join(5)


@pytest.mark.parametrize("broken", ["find", "embed_cut", "match"])
def test_an_error_of_a_stage_is_raised_where_the_results_are_taken(
    spots: Any, people: Gallery, scene: Scene, camera: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ArtefactError("the network is damaged")

    monkeypatch.setattr(spots, broken, fail)
    with (
        pytest.raises(ArtefactError, match="damaged"),
        Stream(spots, camera(scene((1, 9, 9))), people, LIMIT) as stream,
    ):
        list(stream)


def test_what_cannot_be_is_said_at_once(spots: Any, people: Gallery, tiny_bundle: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="source not found"):
        Stream(spots, tmp_path / "none.mp4", people)
    with Gallery(tmp_path / "other.db", "b" * 64, 512, create=True) as other, pytest.raises(ArtefactError):
        Stream(spots, "0", other)


class Page:
    """A publisher that looks at some pictures only."""

    def __init__(self) -> None:
        self.looks = False
        self.published: list[tuple[Callable[[], bytes], Any]] = []

    def wanted(self) -> bool:
        self.looks = not self.looks
        return self.looks

    def publish(self, picture: Callable[[], bytes], state: Any) -> None:
        self.published.append((picture, json.loads(json.dumps(state))))


def test_pictures_are_drawn_only_for_those_who_look(
    spots: Any, people: Gallery, scene: Scene, film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    draw = module.StreamResult.draw
    monkeypatch.setattr(module.StreamResult, "draw", lambda self: drawn.append(self.frame.number) or draw(self))
    page = Page()
    with Stream(spots, film([scene((1, 100, 60))] * 6), people, LIMIT, publisher=page) as stream:
        assert len(list(stream)) == 6
    assert [state["frame"] for _, state in page.published] == [0, 2, 4]
    assert drawn == []
    picture, state = page.published[-1]
    image = cv2.imdecode(np.frombuffer(picture(), np.uint8), cv2.IMREAD_COLOR)
    assert drawn == [4] and image.shape == (240, 320, 3)
    left = np.abs(image[60:172, 97:104].astype(int) - (80, 200, 80)).mean(axis=(0, 2))
    assert left.min() < 40, "a box is drawn around Ada"
    assert state["faces"][0]["name"] == "Ada" and state["drops"] == 0
    assert set(state["stages"]["whole"]) == {"p50_ms", "p99_ms"}
    assert [event["message"] for event in state["events"]] == ["Ada came (1.00)"]


@pytest.mark.slow
def test_memory_does_not_grow(spots: Any, people: Gallery, scene: Scene, camera: Any) -> None:
    """700 pictures of people who come and go, after a warm-up of 200."""
    pictures = [scene((1 + n, 40 + 2 * n, 60)) for n in range(60)]

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    source = camera(*(pictures * 15), live=False)
    settings = dataclasses.replace(LIMIT, detect_every=10)
    with Stream(spots, source, people, settings) as stream:
        for result in stream:
            if result.frame.number == 200:
                before = resident()
    assert stream.summary().handled == 900
    assert resident() - before < 5e6
