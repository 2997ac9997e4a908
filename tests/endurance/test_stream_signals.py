"""SIGTERM in every phase of `edgeface stream`: it ends soon, its video is whole, and nobody sees a traceback."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from faultkit.frames import photographs
from faultkit.tiny import write_bundle

from edgeface_runtime.gallery import GalleryKey
from edgeface_runtime.gallery_check import check
from edgeface_runtime.recognizer import Recognizer

pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")

STOPPED = 130
WIDTH, HEIGHT = 240, 200


@dataclass(frozen=True)
class Place:
    """What the streams here are made of."""

    folder: Path
    picture: np.ndarray

    def start(self, source: object, *more: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edgeface", "stream", self.folder / "bundle", source]
        command += ["--gallery", self.folder / "g.db", "--key-file", self.folder / "key", "--threshold", ".8"]
        return subprocess.Popen(
            [str(word) for word in (*command, "--threads", "1", *more)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, photos: str) -> Place:
    """A bundle, an encrypted gallery of Ann, a key, and a film of her of a minute."""
    folder = tmp_path_factory.mktemp("place")
    picture = cv2.resize(photographs(None if photos == "-" else Path(photos))[0], (WIDTH, HEIGHT))
    (folder / "key").write_text("01" * 32)
    with (
        Recognizer.from_bundle(write_bundle(folder / "bundle"), threads=1) as recognizer,
        recognizer.open_gallery(folder / "g.db", create=True, key=GalleryKey(bytes([1]) * 32)) as gallery,
    ):
        recognizer.enroll(gallery, "Ann", [picture], largest=True, accept_poor=True)
    writer = cv2.VideoWriter(str(folder / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for _ in range(1500):
        writer.write(picture)
    writer.release()
    return Place(folder, picture)


def ended(child: subprocess.Popen[str], out: Path) -> tuple[str, str]:
    """What it still says; it ends soon, and leaves nothing but perhaps a video."""
    said, errors = child.communicate(timeout=60)
    assert "Traceback" not in errors and "Exception ignored" not in errors, errors
    assert {file.name for file in out.parent.iterdir()} <= {out.name}
    return said, errors


def played(out: Path) -> int:
    capture = cv2.VideoCapture(str(out))
    return sum(1 for _ in iter(capture.grab, False))


@pytest.mark.parametrize("number", [0, 1, 2, *[pytest.param(k, marks=pytest.mark.soak) for k in range(3, 40)]])
def test_while_it_starts(place: Place, tmp_path: Path, number: int) -> None:
    """At any moment from the interpreter's start to the first pictures."""
    out = tmp_path / "out.avi"
    with place.start(place.folder / "film.avi", "--realtime", "--json", "--save", out) as child:
        try:
            time.sleep((0.7, 0.25, 1.2)[number] if number < 3 else number * 0.05)
            child.send_signal(signal.SIGTERM)
            ended(child, out)
        finally:
            child.kill()
    # Before it listens, it is ended as any program; just as it begins, as by Ctrl-C.
    assert child.returncode in (STOPPED, -signal.SIGTERM, -signal.SIGINT)
    assert not out.exists() or played(out) > 0
    assert check(place.folder / "g.db").sound


class Camera(http.server.BaseHTTPRequestHandler):
    """A network camera that is there once."""

    picture = b""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if type(self).asked > 1:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.picture)}\r\n\r\n"
        with contextlib.suppress(OSError):
            for _ in range(20):
                self.wfile.write(head.encode() + self.picture + b"\r\n")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def camera(place: Place) -> Iterator[str]:
    Camera.picture, Camera.asked = cv2.imencode(".jpg", place.picture)[1].tobytes(), 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/live.mjpg"
        server.shutdown()


def test_while_a_camera_is_away(place: Place, camera: str, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with place.start(camera, "--save", out) as child:
        assert child.stdout is not None and child.stderr is not None
        try:
            assert "Ann came" in child.stdout.readline()
            while "trying again" not in (line := child.stderr.readline()):
                assert line, "it ended by itself"
            while Camera.asked < 2:
                time.sleep(0.02)
            child.send_signal(signal.SIGTERM)
            said, errors = ended(child, out)
        finally:
            child.kill()
    assert child.returncode == STOPPED
    assert f"wrote {out}" in errors and "times that the source went away: 1" in said, (said, errors)
    assert played(out) >= 1


def test_while_it_saves_and_somebody_watches(place: Place, tmp_path: Path) -> None:
    """Twice, as `timeout` does it; a viewer reads its picture to the end of the connection, another never reads."""
    out = tmp_path / "out.mp4"
    more = ("--realtime", "--save", out, "--serve", "127.0.0.1:0")
    with place.start(place.folder / "film.avi", *more) as child, contextlib.ExitStack() as viewers:
        assert child.stdout is not None and child.stderr is not None
        try:
            while "watch it at" not in (address := child.stderr.readline()):
                assert address, "it ended by itself"
            address = address.split()[-1]
            port, token = address.split(":")[-1].split("/?")
            assert "Ann came" in child.stdout.readline()
            sockets = [viewers.enter_context(socket.create_connection(("127.0.0.1", int(port)))) for _ in range(3)]
            for viewer, target in zip(sockets, ("frame.jpg", "state.json"), strict=False):
                viewer.sendall(f"GET /{target}?{token} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert sockets[0].recv(12).startswith(b"HTTP/1.1 ")
            child.send_signal(signal.SIGTERM)
            time.sleep(0.01)
            child.send_signal(signal.SIGTERM)
            said, errors = ended(child, out)
            for viewer in sockets:
                viewer.settimeout(5)
                with contextlib.suppress(ConnectionError):
                    while viewer.recv(1 << 16):
                        pass
        finally:
            child.kill()
    assert child.returncode == STOPPED
    assert f"wrote {out}" in errors and "pictures in" in said
    assert played(out) >= 1


def test_a_gallery_whose_key_is_changed_ends_it_with_its_video(place: Place, tmp_path: Path) -> None:
    """One line, exit code 2, and the video of what was seen."""
    from edgeface_runtime.gallery import Gallery

    out, keys = tmp_path / "out.mp4", [GalleryKey(bytes([k]) * 32) for k in (1, 2)]
    more = ("--realtime", "--save", out, "--refresh", ".1")
    with place.start(place.folder / "film.avi", *more) as child:
        assert child.stdout is not None
        try:
            assert "Ann came" in child.stdout.readline()
            with Gallery(place.folder / "g.db", key=keys[0]) as gallery:
                gallery.rekey(keys[1])
            said, errors = ended(child, out)
        finally:
            child.kill()
    with Gallery(place.folder / "g.db", key=keys[1]) as gallery:
        gallery.rekey(keys[0])
    assert child.returncode == 2 and "pictures in" in said
    last = f"edgeface: the key of gallery {place.folder / 'g.db'} was changed by another process: open it again"
    assert errors.splitlines()[-1] == last and f"wrote {out}" in errors
    assert played(out) >= 1
