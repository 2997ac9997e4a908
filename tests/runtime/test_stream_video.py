"""The annotated video: every picture at its time, whole under its name or not there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeface_runtime.errors import DeviceError, InputError
from edgeface_runtime.stream import video as video_module
from edgeface_runtime.stream.video import save_video
from edgeface_runtime.stream.window import Window


def shade(value: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def pictures(path: Path) -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        found.append(read[1])
    return found


@pytest.mark.parametrize("name", ["out.mp4", "out.AVI"])
def test_what_was_written_can_be_read(tmp_path: Path, name: str) -> None:
    with save_video(tmp_path / name) as video:
        for n in range(10):
            video.write(shade(20 * n), n / 25, 25.0)
        assert list(tmp_path.glob(name)) == [], "not there before it is whole"
    found = pictures(tmp_path / name)
    assert [round(image.mean() / 20) for image in found] == list(range(10))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert cv2.VideoCapture(str(tmp_path / name)).get(cv2.CAP_PROP_FPS) == 25


def test_time_is_kept(tmp_path: Path) -> None:
    """Of a camera: late pictures are made up for, early ones left out, and a pause lasts a second at most."""
    with save_video(tmp_path / "out.avi") as video:
        for shown, at_s in ((20, 0.0), (60, 0.01), (100, 0.2), (140, 3600.0), (180, 3600.1)):
            video.write(shade(shown), at_s, 10.0)
    assert [round(image.mean() / 20) for image in pictures(tmp_path / "out.avi")] == [1, 5, 5, *[7] * 11, 9]


def test_unrelated_pictures_are_fitted_one_a_second(tmp_path: Path) -> None:
    with save_video(tmp_path / "out.avi") as video:
        video.write(shade(200), 0.0, None)
        video.write(shade(200, (96, 64)), 0.001, None)
    first, second = pictures(tmp_path / "out.avi")
    assert first.shape == second.shape == (48, 64, 3)
    assert second[:, 20:44].mean() > 190 and second[:, :12].mean() < 10


def test_an_end_by_force_keeps_what_was_written(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), save_video(tmp_path / "out.avi") as video:
        video.write(shade(100), 0.0, 25.0)
        raise KeyboardInterrupt
    assert len(pictures(tmp_path / "out.avi")) == 1


def test_without_a_picture_there_is_no_file(tmp_path: Path) -> None:
    with save_video(tmp_path / "out.avi"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_is_not_whole_is_not_kept(tmp_path: Path, small_files: Callable[[int], Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    with (
        pytest.raises(InputError, match=r"could not be written whole .* is there room"),
        small_files(100_000),
        save_video(tmp_path / "out.avi") as video,
    ):
        for n in range(40):
            video.write(noise, n / 25, 25.0)
    assert list(tmp_path.iterdir()) == []


def test_a_video_ends_before_its_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is free made up: after three pictures less than the reserve and their index."""
    free = iter([5, 200, 200, 200, 3 * video_module.INDEX_BYTES - 1])
    monkeypatch.setattr(video_module, "_free_bytes", lambda folder: video_module.RESERVE_BYTES + next(free))
    with save_video(tmp_path / "out.avi") as video:
        for n in range(10):
            video.write(shade(100), n / 25, 25.0)
            assert video.full == (n >= 3)
    assert len(pictures(tmp_path / "out.avi")) == video.pictures == 3 and video.saved
    monkeypatch.setattr(video_module, "_free_bytes", lambda folder: 0)
    with pytest.raises(InputError, match=r"cannot write .*b\.avi: less than 16 MiB are free there: make room"):
        save_video(tmp_path / "b.avi").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["out.avi"]


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.webm: give a name that ends in \.mp4 or \.avi"):
        save_video(tmp_path / "out.webm").__enter__()


def test_without_a_screen_a_window_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    with pytest.raises(DeviceError, match="--show needs a screen"):
        Window()


def test_a_window_ends_with_q_esc_or_when_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenCV's window functions replaced: no screen is needed."""
    shown: list[int] = []
    keys, visible = [-1, ord("x"), ord("q"), 27, -1], [1.0, 1.0, 1.0, 1.0, 0.0]
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: subprocess.CompletedProcess(args, 0))
    monkeypatch.setattr(cv2, "namedWindow", lambda *args: None)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: shown.append(-1))
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(int(image[0, 0, 0])))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: keys[len(shown) - 1])
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, what: visible[len(shown) - 1])
    with Window() as window:
        assert [window.show(shade(n)) for n in range(5)] == [True, True, False, False, False]
    assert shown == [0, 1, 2, 3, 4, -1]
