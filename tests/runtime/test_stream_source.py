"""Sources by what the user wrote, and their pictures; what is wrong is one line."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime.errors import DeviceError, ImageError, InputError
from edgeface_runtime.stream import open_source
from edgeface_runtime.stream.capture import Capture
from edgeface_runtime.stream.folder import Folder

Scene = Callable[..., np.ndarray]
Film = Callable[..., Path]


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "wow!.mp4").touch()
    assert (open_source("0").name, open_source(2).name) == ("camera 0", "camera 2")
    assert open_source("0").live and open_source("rtsp://10.0.0.2/main").live
    assert not open_source(tmp_path / "a.mp4").live and not open_source(str(tmp_path / "wow!.mp4")).live
    assert isinstance(open_source(tmp_path), Folder) and not open_source(tmp_path).related
    assert open_source("/dev/null").live  # a device, as /dev/video0 is


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://ann:se@cret@cam/main", "rtsp://cam/main"),
        ("rtsp://ann:se/cret@cam/main", "rtsp://cam/main"),
        ("rtsp://ann:se?cret@cam:554/main", "rtsp://cam:554/main"),
        ("rtsp://ann@cam/main", "rtsp://cam/main"),
        (
            "http://cam:81/v.cgi?ch=2&loginuse=ann&loginpas=secret",
            "http://cam:81/v.cgi?ch=2&loginuse=...&loginpas=...",
        ),
        ("http://cam/v?user=ann;pwd=secret#1", "http://cam/v?user=...;pwd=...#1"),
        ("http://cam:81/@front?size=2", "http://cam:81/@front?size=2"),
    ],
)
def test_no_secret_is_shown_wherever_it_stands(address: str, shown: str) -> None:
    source = open_source(address)
    assert source.name == source.label == shown


def test_a_password_is_not_shown() -> None:
    source = open_source("rtsp://admin:secret@10.0.0.2:554/main?x=@1")
    assert source.name == source.label == "rtsp://10.0.0.2:554/main?x=@1"


def test_a_pipeline_needs_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = "videotestsrc ! videoconvert ! appsink"
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda api: False)
    with pytest.raises(InputError, match="has no GStreamer: use the OpenCV of the device's system"):
        open_source(pipeline)
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda api: api == cv2.CAP_GSTREAMER)
    source = open_source(pipeline)
    assert isinstance(source, Capture) and source.live


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the source is empty: give a camera's index"):
        open_source("")
    with pytest.raises(DeviceError, match="/dev/video97 cannot be opened: see that it is there"):
        open_source("/dev/video97").open()  # as for 97
    with pytest.raises(InputError, match=r"source not found: .*none\.mp4"):
        open_source(tmp_path / "none.mp4")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="is a picture: use edgeface identify"):
        open_source(tmp_path / "a.png")
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    with pytest.raises(InputError, match=r"text\.mp4 cannot be read as a video"):
        open_source(tmp_path / "text.mp4").open()
    with pytest.raises(InputError, match="holds no pictures"):
        empty = tmp_path / "empty"
        empty.mkdir()
        open_source(empty).open()
    with pytest.raises(DeviceError, match="camera 97 cannot be opened"):
        open_source(97).open()


def test_a_video_gives_its_pictures(scene: Scene, film: Film) -> None:
    source = open_source(film(scene((1, 10 * n, 20)) for n in range(7)))
    source.open()
    assert (source.fps, source.expected) == (25, 7)
    for n in range(7):
        image = source.read()
        assert image is not None and (image.shape, image.dtype) == ((240, 320, 3), np.uint8)
        assert np.abs(image.astype(int) - scene((1, 10 * n, 20))).mean() < 3
    assert source.read() is None
    source.close()
    source.close()
    assert source.read() is None


class Camera(http.server.BaseHTTPRequestHandler):
    """A network camera: JPEG after JPEG, until it hangs up."""

    picture = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for _ in range(15):
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.picture)}\r\n\r\n"
            self.wfile.write(head.encode() + self.picture + b"\r\n")

    def log_message(self, *words: object) -> None:
        pass


def test_a_network_camera_that_hangs_up_is_lost_and_can_be_opened_again(scene: Scene) -> None:
    Camera.picture = cv2.imencode(".jpg", scene((1, 100, 60)))[1].tobytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://me:secret@127.0.0.1:{server.server_port}/live.mjpg")
        for _ in range(2):
            source.open()
            assert source.live and source.fps is None and "secret" not in source.name
            read = 0
            while (image := source.read()) is not None:
                assert np.abs(image.astype(int) - scene((1, 100, 60))).mean() < 5
                read += 1
            assert read >= 14
        source.close()
        server.shutdown()
    with pytest.raises(DeviceError, match=r"http://127\.0\.0\.1:\d+/live\.mjpg cannot be opened"):
        source.open()


def test_a_folder_is_read_by_name_and_says_what_it_cannot_read(scene: Scene, tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), scene((ord(name), 30, 30)))
    shutil.copy(tmp_path / "a.png", tmp_path / "d.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    source = open_source(tmp_path)
    source.open()
    read = []
    while True:
        try:
            if (image := source.read()) is None:
                break
            read.append((Path(source.label).name, image.shape))
        except ImageError as exc:
            read.append((Path(source.label).name, str(exc)))
    assert [name for name, _ in read] == ["a.png", "b.png", "c.png", "d.png"]
    assert read[0][1] == (240, 320, 3)
    assert "is not a JPEG" in str(read[1][1])
