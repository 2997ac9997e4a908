"""Reading a source: every picture once, a camera that goes away and returns, and ends that are told."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.errors import DeviceError, ImageError, InputError
from edgeface_runtime.stream import Event, Frame, StreamSettings
from edgeface_runtime.stream import reader as module
from edgeface_runtime.stream.reader import Reader, delays

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Clock(threading.Event):
    """Stands for the stop flag: waits cost nothing and are written down; time goes on only by them."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        return self.is_set()

    def monotonic(self) -> float:
        return sum(self.waited)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock.monotonic)
    return clock


Run = Callable[..., tuple[list[Frame], list[Event], Reader]]


@pytest.fixture
def run(clock: Clock) -> Run:
    def read(source: Any, **settings: Any) -> tuple[list[Frame], list[Event], Reader]:
        events: list[Event] = []
        reader = Reader(source, StreamSettings(**settings), events.append, clock)
        return [frame for frame, _ in reader.frames()], events, reader

    return read


def test_delays_double_up_to_half_a_minute() -> None:
    assert list(itertools.islice(delays(), 9)) == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_file_ends_at_its_end(run: Run, camera: Any) -> None:
    source = camera(IMAGE, IMAGE, IMAGE, live=False)
    source.fps, source.expected = 25.0, 3
    frames, events, _ = run(source)
    assert [(f.number, f.at_s, f.cut, f.source) for f in frames] == [
        (0, 0.0, True, "the fake camera"),
        (1, 0.04, False, "the fake camera"),
        (2, 0.08, False, "the fake camera"),
    ]
    assert (events, source.opened, source.closed) == ([], 1, 1)


def test_a_camera_that_vanishes_is_opened_again(run: Run, camera: Any, clock: Clock) -> None:
    gone = DeviceError("not there")
    source = camera(IMAGE, IMAGE, None, gone, gone, IMAGE, None, IMAGE)
    frames, events, reader = run(source, max_frames=4)
    assert [(f.number, f.cut) for f in frames] == [(0, True), (1, False), (2, True), (3, True)]
    assert [event.kind for event in events] == ["lost", "back", "lost", "back"]
    assert "gives no pictures any more: trying again" in events[0].message
    assert events[1].message == "the fake camera is back after 3.5 s"
    assert clock.waited == [0.5, 1, 2, 0.5]
    assert (reader.interruptions, source.opened) == (2, 5)


def test_the_waiting_grows_until_a_picture_comes(run: Run, camera: Any, clock: Clock) -> None:
    """A camera that can be opened and gives nothing is not asked faster than one that cannot."""
    run(camera(IMAGE, None, None, None, None, IMAGE), max_frames=2)
    assert clock.waited == [0.5, 1, 2, 4]


def test_giving_up(run: Run, camera: Any, clock: Clock) -> None:
    with pytest.raises(DeviceError, match=r"went away and did not come back for 5 s \(--give-up\)"):
        run(camera(IMAGE), give_up_s=5)
    assert clock.waited == [0.5, 1, 2, 1.5]
    with pytest.raises(DeviceError, match="for 0 s"):
        run(camera(IMAGE), give_up_s=0)


def test_a_camera_that_is_not_there_at_first_is_an_error(run: Run, camera: Any) -> None:
    source = camera(DeviceError("camera 3 cannot be opened"))
    with pytest.raises(DeviceError, match="camera 3"):
        run(source)
    assert source.closed == 1


def test_unreadable_pictures_are_told_and_left_out(run: Run, camera: Any) -> None:
    source = camera(IMAGE, ImageError("b.png is damaged"), IMAGE, live=False)
    frames, events, reader = run(source)
    assert ([f.number for f in frames], reader.unreadable) == ([0, 1], 1)
    assert [(event.kind, event.message) for event in events] == [("unreadable", "b.png is damaged")]
    with pytest.raises(InputError, match="holds no picture that can be read"):
        run(camera(ImageError("x"), live=False))


def test_a_video_that_ends_too_early_is_told(run: Run, camera: Any) -> None:
    source = camera(*[IMAGE] * 40, live=False)
    source.fps, source.expected = 25.0, 100
    assert [event.kind for event in run(source)[1]] == ["short"]
    source = camera(*[IMAGE] * 99, live=False)  # lengths are estimates
    source.fps, source.expected = 25.0, 100
    assert run(source)[1] == []


def test_real_time_waits_for_each_picture(run: Run, camera: Any, clock: Clock) -> None:
    source = camera(*[IMAGE] * 4, live=False)
    source.fps = 4.0
    frames, _, _ = run(source, realtime=True)
    assert [f.monotonic_s for f in frames] == [0, 0, 0.25, 0.5]  # each is read while the one before is shown
    with pytest.raises(InputError, match="has no frame rate: leave out --realtime"):
        run(camera(IMAGE, live=False), realtime=True)


def test_stopping(camera: Any, clock: Clock) -> None:
    source = camera(*[IMAGE] * 100)
    reader = Reader(source, StreamSettings(), lambda event: None, clock)
    frames = reader.frames()
    next(frames)
    clock.set()
    assert list(frames) == []
    assert source.closed == 1
    source = camera(IMAGE)  # stopped while it waits for the camera to return
    assert list(Reader(source, StreamSettings(), lambda event: None, clock).frames()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detect_every": 0}, "--detect-every is 0"),
        ({"refresh_s": 0.0}, "--refresh is 0"),
        ({"refresh_s": float("nan")}, "--refresh is nan"),
        ({"max_frames": 0}, "--max-frames is 0"),
        ({"give_up_s": -1.0}, "--give-up is -1"),
        ({"roi": (5, 5, 5, 9)}, "--roi is 5,5,5,9"),
    ],
)
def test_settings_speak_in_flags(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StreamSettings(**settings)
