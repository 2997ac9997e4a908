"""Streams whose source, gallery, disk or reader fails: what was read comes out, and the end is one line and clean."""

from __future__ import annotations

import contextlib
import http.server
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from faultkit.stream_parts import Scripted, recognizer, scene

from edgeface_runtime.errors import DeviceError, EdgefaceError, InputError
from edgeface_runtime.gallery import Gallery, GalleryKey
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.stream import Event, Stream, StreamSettings
from edgeface_runtime.stream import reader as reader_module
from edgeface_runtime.stream.capture import Capture
from edgeface_runtime.stream.video import save_video

pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")

KEYS = [GalleryKey(bytes([k]) * 32) for k in (1, 2)]
LIMIT = StreamSettings(threshold=0.9, detect_every=2, refresh_s=1e-9)
"""Every face is embedded and looked up whenever it is found."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizer]:
    with recognizer(tmp_path_factory.mktemp("network") / "bundle") as made:
        yield made


@pytest.fixture
def people(network: Recognizer, quick_disk: Path) -> Iterator[Gallery]:
    """An encrypted gallery of Ada and Bob."""
    with network.open_gallery(quick_disk / "g.db", create=True, key=KEYS[0]) as gallery:
        assert isinstance(gallery, Gallery)
        for seed, name in ((1, "Ada"), (2, "Bob")):
            network.enroll(gallery, name, [scene((seed, 50, 20))], accept_poor=True)
        yield gallery


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No waiting for a source; and no thread is left at the end."""
    monkeypatch.setattr(reader_module, "FIRST_DELAY_S", 0.005)
    monkeypatch.setattr(reader_module, "LONGEST_DELAY_S", 0.02)
    before = set(threading.enumerate())
    yield
    assert [thread.name for thread in set(threading.enumerate()) - before if "edgeface" in thread.name] == []


def names(stream: Stream) -> list[list[str | None]]:
    return [[face.name for face in result.faces] for result in stream]


def test_a_camera_that_returns_with_other_sizes(network: Recognizer, people: Gallery, tmp_path: Path) -> None:
    sizes = [(160, 240), (130, 170), (480, 640), (3, 400), (1, 1), (160, 240)]
    script: list[object] = []
    for size in sizes:
        there = min(size) > 120
        script += [scene((1, 50, 15), size=size) if there else np.zeros((*size, 3), np.uint8)] * 4
        script += [None, DeviceError("not yet")]
    told: list[Event] = []
    settings = StreamSettings(0.9, 2, max_frames=4 * len(sizes))
    with (
        save_video(tmp_path / "out.avi") as video,
        Stream(network, Scripted(script), people, settings, on_event=told.append) as stream,
    ):
        seen = []
        for result in stream:
            video.write(result.draw(), result.frame.at_s, stream.rate)
            seen.append([face.name for face in result.faces])
    dropped = stream.summary().dropped
    assert len(seen) + dropped == 24 and stream.summary().interruptions == len(sizes) - 1
    assert {tuple(found) for found in seen} <= {("Ada",), ()} and seen.count(["Ada"]) >= 4
    assert [event.kind for event in told if event.kind in ("lost", "back")] == ["lost", "back"] * (len(sizes) - 1)
    played = cv2.VideoCapture(str(tmp_path / "out.avi"))
    assert played.read()[1].shape == (160, 240, 3) and played.get(cv2.CAP_PROP_FRAME_COUNT) == video.pictures


def test_a_region_that_the_smaller_picture_has_not(network: Recognizer) -> None:
    script = [scene((1, 50, 15)), None, None, scene(size=(100, 100))]
    with (
        pytest.raises(InputError, match=r"^--roi is 0,0,200,150: the pictures have 100x100 pixels: give a part"),
        Stream(network, Scripted(script), settings=StreamSettings(roi=(0, 0, 200, 150))) as stream,
    ):
        list(stream)


class Camera(http.server.BaseHTTPRequestHandler):
    """A network camera that vanishes in the middle of a picture, and returns with pictures of another size."""

    asked = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        size = [(160, 240), (128, 192)][min(type(self).asked, 1)]
        type(self).asked += 1
        picture = cv2.imencode(".jpg", scene((1, 50, 10), size=size))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
        with contextlib.suppress(OSError):
            for _ in range(15):
                self.wfile.write(head + picture + b"\r\n")
            self.wfile.write(head + picture[: len(picture) // 2])

    def log_message(self, *words: object) -> None:
        pass


def test_a_network_camera_that_vanishes_in_the_middle_of_a_picture(network: Recognizer, people: Gallery) -> None:
    Camera.asked = 0
    told: list[Event] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = f"http://127.0.0.1:{server.server_port}/live.mjpg"
        settings = StreamSettings(0.9, 2, max_frames=25)
        with Stream(network, source, people, settings, on_event=told.append) as stream:
            shapes = {result.frame.image.shape[:2] for result in stream}
        server.shutdown()
    assert shapes == {(160, 240), (128, 192)}
    assert [event.kind for event in told if event.kind in ("lost", "back")][:2] == ["lost", "back"]
    assert {event.name for event in told if event.kind == "came"} == {"Ada"}


class Decoder:
    """Stands for cv2.VideoCapture; what it gives is set by the test."""

    gives: ClassVar[list[Any]] = []

    def __init__(self, *arguments: object) -> None:
        self.left = list(type(self).gives)

    def isOpened(self) -> bool:
        return True

    def get(self, what: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, Any]:
        step = self.left.pop(0) if self.left else (False, None)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, tuple) else (True, step)

    def release(self) -> None:
        pass


GARBAGE = {
    "nothing, and says it is there": ((True, None), None),
    "an empty picture": (np.zeros((0, 0, 3), np.uint8), None),
    "an error of OpenCV": (cv2.error("decoding failed"), r"gives no picture"),
    "16 bits": (np.full((160, 240, 3), 300, np.uint16), r"gives pictures of uint16: have it give 8 bits a channel"),
    "floats": (np.full((160, 240, 3), np.nan, np.float32), r"gives pictures of float32"),
    "two channels": (np.zeros((160, 240, 2), np.uint8), r"gave what is no picture"),
}


@pytest.mark.parametrize("what", list(GARBAGE))
@pytest.mark.parametrize("live", [True, False], ids=["camera", "file"])
def test_a_decoder_that_returns_garbage(
    network: Recognizer, people: Gallery, monkeypatch: pytest.MonkeyPatch, what: str, live: bool
) -> None:
    """A camera is opened again, and it is said why; a file ends, or is refused."""
    good = scene((1, 50, 20))
    garbage, words = GARBAGE[what]
    Decoder.gives = [good, good, garbage, good]
    monkeypatch.setattr(cv2, "VideoCapture", Decoder)
    told: list[Event] = []
    source = Capture(0, "the camera", live)
    settings = StreamSettings(0.9, 2, max_frames=6)
    refused = contextlib.nullcontext() if live or words is None else pytest.raises(InputError, match=words)
    with refused, Stream(network, source, people, settings, on_event=told.append) as stream:
        found = names(stream)
        assert set(map(tuple, found)) == {("Ada",)} and len(found) + stream.summary().dropped == (6 if live else 2)
    lost = [event.message for event in told if event.kind == "lost"]
    assert len(lost) == (2 if live else 0)
    assert all((words or "gives no pictures any more") in line and line.endswith(": trying again") for line in lost)


def test_a_decoder_with_transparency_and_grey(
    network: Recognizer, people: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = scene((1, 50, 20))
    Decoder.gives = [cv2.cvtColor(good, cv2.COLOR_BGR2BGRA), good[..., 0], good[..., :1]]
    monkeypatch.setattr(cv2, "VideoCapture", Decoder)
    with Stream(network, Capture("a.avi", "the film", False), people, LIMIT) as stream:
        assert names(stream)[0] == ["Ada"] and stream.summary().read == 3


def test_a_source_of_ones_own_that_raises_anything(network: Recognizer) -> None:
    source = Scripted([scene((1, 50, 20)), MemoryError("no memory for a picture")], live=False)
    with pytest.raises(MemoryError), Stream(network, source) as stream:
        assert next(stream).frame.number == 0
        next(stream)
    assert source.closed == 1


def replaced(path: Path) -> None:
    with Gallery(path.with_name("other.db"), "a" * 64, 64, create=True):
        pass
    path.with_name("other.db").replace(path)


def removed(path: Path) -> None:
    for file in path.parent.glob("g.db*"):
        file.unlink()


def rekeyed(path: Path) -> None:
    with Gallery(path, key=KEYS[0]) as gallery:
        gallery.rekey(KEYS[1])


def damaged(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE people SET key = zeroblob(60)")


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "removed": (removed, "was removed or replaced while it was open: open it again"),
    "replaced": (replaced, "was removed or replaced while it was open: open it again"),
    "rekeyed": (rekeyed, "was changed by another process: open it again"),
    "damaged": (damaged, "was tampered with or is damaged"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_gallery_that_fails_while_the_stream_runs(
    network: Recognizer, people: Gallery, tmp_path: Path, fault: str
) -> None:
    """Who was seen before is told, the video is there, and the reason is one line."""
    break_it, words = FAULTS[fault]
    path, done, seen = people.path, threading.Event(), []

    def broken() -> np.ndarray:
        done.wait(20)
        break_it(path)
        return scene((2, 50, 20))

    script = [scene((1, 50, 20)), scene((1, 52, 20)), broken, *[scene((2, 50, 20))] * 3]
    with (
        pytest.raises(EdgefaceError, match=words) as raised,
        save_video(tmp_path / "out.avi") as video,
        Stream(network, Scripted(script, live=False), people, LIMIT) as stream,
    ):
        for result in stream:
            seen += [face.name for face in result.faces]
            video.write(result.draw(), result.frame.number / 25, 25.0)
            if result.frame.number == 1:
                done.set()
    assert "\n" not in str(raised.value)
    assert seen[:2] == ["Ada", "Ada"] and set(seen) <= {"Ada", None}
    assert cv2.VideoCapture(str(tmp_path / "out.avi")).get(cv2.CAP_PROP_FRAME_COUNT) == video.pictures >= 2


def test_a_gallery_that_others_write_to_without_end(network: Recognizer, people: Gallery) -> None:
    """Another process holds the writer's lock all the time: a stream only reads."""
    with contextlib.closing(sqlite3.connect(people.path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("UPDATE meta SET value = value")
        with Stream(network, Scripted([scene((1, 50, 20))] * 6, live=False), people, LIMIT) as stream:
            assert names(stream) == [["Ada"]] * 6
        writer.execute("ROLLBACK")


def test_a_video_and_a_gallery_on_a_disk_that_is_full(network: Recognizer, small_disk: Path) -> None:
    """Really full: the stream reads on from its gallery, the video is refused at its first picture."""
    path = small_disk / "g.db"
    with network.open_gallery(path, create=True, key=KEYS[0]) as gallery:
        network.enroll(gallery, "Ada", [scene((1, 50, 20))], accept_poor=True)
        with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        with Stream(network, Scripted([scene((1, 50, 20))] * 6, live=False), gallery, LIMIT) as stream:
            assert names(stream) == [["Ada"]] * 6
        with (
            pytest.raises(InputError, match="less than 16 MiB are free there"),
            save_video(small_disk / "v.avi") as video,
        ):
            video.write(scene(), 0.0, 25.0)
    assert not [file.name for file in small_disk.iterdir() if "v.avi" in file.name]
    (small_disk / "filler").unlink()
    with network.open_gallery(path, key=KEYS[0]) as gallery:
        assert [person.name for person in gallery.people()] == ["Ada"]
